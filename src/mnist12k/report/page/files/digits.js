// Test images: the confusion matrix's cells and the hardest ones.

const digits = data.digits;
const allPixels = bytes(digits.pixels);

const { classes } = network;
const imageSize = network.channels * network.side * network.side;

function pixelsOf(number) {
  return allPixels.subarray(imageSize * number, imageSize * (number + 1));
}

function topThree(image) {
  return image.probabilities
    .map((probability, label) => ({ label, probability }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, 3)
    .map(({ label, probability }) => `${classes[label]}: ${asPercent(probability)}`);
}

// A button with the image; it shows the image to the network above.
function card(number) {
  const image = digits.images[number];
  const button = document.createElement("button");
  button.className = "card";
  const canvas = document.createElement("canvas");
  canvas.className = "digit";
  paintImage(canvas, pixelsOf(number));
  const text = document.createElement("span");
  const label = classes[image.label];
  const verdict = image.label === image.prediction ? `${label}, read correctly` : `${label}, read as ${classes[image.prediction]}`;
  const lines = [verdict, ...topThree(image), `test image ${image.index}`].map((line, k) => {
    const element = document.createElement(["b", "span", "span", "span"][k] || "small");
    element.textContent = line;
    return element;
  });
  text.append(...lines.flatMap((line, k) => (k ? [document.createElement("br"), line] : [line])));
  button.append(canvas, text);
  button.addEventListener("click", () => examine(number));
  return button;
}

function examine(number) {
  const image = digits.images[number];
  loadOntoPad(pixelsOf(number));
  show(pixelsOf(number));
  note.textContent = `Test image ${image.index}, label ${classes[image.label]}.`;
  document.getElementById("draw").scrollIntoView();
  document.getElementById("pad")?.focus({ preventScroll: true });
}

const cell = document.getElementById("cell");
for (const button of document.querySelectorAll("[data-cell]")) {
  button.disabled = false; // without scripts it only shows its count
  button.addEventListener("click", () => {
    document.querySelectorAll("[data-cell]").forEach((other) => other.setAttribute("aria-pressed", other === button));
    const [label, prediction] = button.dataset.cell.split("-").map((number) => classes[number]);
    const numbers = digits.cells[button.dataset.cell] || [];
    const count = Number(button.textContent);
    const limit = numbers.length < count ? ` The ${numbers.length} with the lowest probability of the true class:` : "";
    cell.querySelector("p").textContent = `${label} read as ${prediction}: ${count} image${count === 1 ? "" : "s"}.${limit}`;
    cell.querySelector(".cards").replaceChildren(...numbers.map(card));
  });
}

document.getElementById("hardest").append(...digits.hardest.map(card));
let next = 0;
document.getElementById("example").addEventListener("click", () => examine(digits.hardest[next++ % digits.hardest.length]));

clearPad();
// Until the reader chooses another, show a test image that is read correctly.
const correctCell = Object.keys(digits.cells).find((key) => key.split("-")[0] === key.split("-")[1]);
if (correctCell) {
  const number = digits.cells[correctCell].at(-1);
  show(pixelsOf(number));
  note.textContent = `Test image ${digits.images[number].index}, shown until you ${document.getElementById("pad") ? "draw" : "select another"}.`;
}
