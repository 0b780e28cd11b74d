// A walk through one iteration: formula, numbers, and the parts of the diagram that they are about.

const walkLines = [...document.querySelectorAll("#steps .line")];
const walkText = document.getElementById("walk-line");
let walkAt = -1;

// dE1_da_h1 is about E1 and h1.
function diagramParts(line) {
  return new Set(line.dataset.parts.split(" ").flatMap((name) => name.match(/[ithobw]\d|E\d|E_total/g) || []));
}

function light(line) {
  const lit = line ? diagramParts(line) : new Set();
  for (const part of document.querySelectorAll("#drawing [data-part]")) part.classList.toggle("lit", lit.has(part.dataset.part));
  for (const other of walkLines) other.classList.toggle("lit", other === line);
}

function walkTo(index) {
  walkAt = (index + walkLines.length) % walkLines.length;
  const line = walkLines[walkAt];
  const steps = line.closest("details");
  steps.open = true;
  light(line);
  const number = [...document.querySelectorAll("#steps details")].indexOf(steps);
  const phase = number === 0 ? "Forward pass" : number === 6 ? "Update" : "Backward pass";
  const head = document.createElement("b");
  head.textContent = `${phase}, ${walkAt + 1} of ${walkLines.length}: `;
  walkText.replaceChildren(head, ...[...line.cloneNode(true).children]);
}

document.getElementById("walk-next").addEventListener("click", () => walkTo(walkAt + 1));
document.getElementById("walk-back").addEventListener("click", () => walkTo(Math.max(walkAt, 1) - 1));
for (const line of walkLines) {
  line.addEventListener("pointerenter", () => light(line));
  line.addEventListener("pointerleave", () => light(walkLines[walkAt]));
}
for (const part of document.querySelectorAll("#drawing [data-part]"))
  part.addEventListener("click", () => {
    const count = walkLines.length;
    for (let k = 1; k <= count; k++)
      if (diagramParts(walkLines[(walkAt + k) % count]).has(part.dataset.part)) return walkTo((walkAt + k) % count);
  });
