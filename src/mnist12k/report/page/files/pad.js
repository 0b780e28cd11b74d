// The drawing pad, for mouse, finger and keyboard: strokes, over an image or not; the network follows them.

const pad = document.getElementById("pad");
const padContext = pad.getContext("2d");
const penMarker = document.getElementById("pen");
const eraseButton = document.getElementById("erase");
const pen = { x: pad.width / 2, y: pad.height / 4, down: false };
const PEN_SHOWN = 16; // units of the pad; the network's pen is PEN
let drawing = { base: null, strokes: [], erases: [] };
let scheduled = false;

function classifySoon() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    const { base, strokes, erases } = drawing;
    show(base ? overlaid(base, strokes, erases, pad.width) : normalised(strokes));
  });
}

function drawPad() {
  const { base, strokes, erases } = drawing;
  padContext.clearRect(0, 0, pad.width, pad.height);
  if (base) {
    const picture = document.createElement("canvas");
    paint(picture, [...base].map((p) => p / 255), FRAME);
    padContext.imageSmoothingEnabled = false;
    padContext.drawImage(picture, 0, 0, pad.width, pad.height);
  }
  padContext.lineWidth = base ? (PEN * pad.width) / FRAME : PEN_SHOWN;
  padContext.lineCap = padContext.lineJoin = "round";
  strokes.forEach((stroke, number) => {
    padContext.globalCompositeOperation = erases[number] ? "destination-out" : "source-over";
    padContext.beginPath();
    padContext.moveTo(stroke[0].x, stroke[0].y);
    for (const { x, y } of stroke) padContext.lineTo(x + 0.01, y); // a dot has a length too
    padContext.stroke();
  });
  padContext.globalCompositeOperation = "source-over";
  pad.parentElement.classList.toggle("empty", !base && !strokes.length);
  eraseButton.hidden = document.getElementById("restore").hidden = !base;
}

function changed() {
  drawPad();
  classifySoon();
}

function beginStroke() {
  note.textContent = "";
  drawing.strokes.push([{ x: pen.x, y: pen.y }]);
  drawing.erases.push(Boolean(drawing.base) && eraseButton.getAttribute("aria-pressed") === "true");
  changed();
}

function movePen(to) {
  Object.assign(pen, to);
  if (pen.down) {
    drawing.strokes.at(-1).push({ x: pen.x, y: pen.y });
    changed();
  }
  penMarker.style.left = `${(100 * pen.x) / pad.width}%`;
  penMarker.style.top = `${(100 * pen.y) / pad.height}%`;
  penMarker.classList.toggle("down", pen.down);
}

function liftPen() {
  pen.down = false;
  penMarker.classList.remove("down");
}

// A new drawing: empty, an image, or strokes.
function newDrawing(base = null, strokes = []) {
  liftPen();
  drawing = { base, strokes, erases: strokes.map(() => false) };
  eraseButton.setAttribute("aria-pressed", "false");
  movePen({ x: pad.width / 2, y: pad.height / 4 });
  note.textContent = "";
  drawPad();
}

clearPad = () => {
  newDrawing();
  show(null);
};
loadOntoPad = (pixels) => newDrawing(Uint8Array.from(pixels));

function undo() {
  if (!drawing.strokes.length) return;
  liftPen();
  drawing.strokes.pop();
  drawing.erases.pop();
  changed();
}

function positionOf(event) {
  const box = pad.getBoundingClientRect();
  return { x: ((event.clientX - box.left) / box.width) * pad.width, y: ((event.clientY - box.top) / box.height) * pad.height };
}

pad.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  pad.focus({ preventScroll: true });
  pad.setPointerCapture(event.pointerId);
  liftPen();
  movePen(positionOf(event));
  beginStroke();
  pen.down = true;
});
pad.addEventListener("pointermove", (event) => {
  if (!event.buttons || !pen.down) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const part of events.length ? events : [event]) movePen(positionOf(part));
});
for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, liftPen);

const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
pad.addEventListener("keydown", (event) => {
  if (event.key in steps) {
    const [dx, dy] = steps[event.key].map((d) => (d * pad.width) / 40);
    const clamp = (value) => Math.max(PEN_SHOWN / 2, Math.min(pad.width - PEN_SHOWN / 2, value));
    movePen({ x: clamp(pen.x + dx), y: clamp(pen.y + dy) });
  } else if (event.key === " ") {
    if (pen.down) liftPen();
    else {
      beginStroke();
      pen.down = true;
      movePen({});
    }
  } else if (event.key === "Delete" || event.key === "Backspace") clearPad();
  else if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
  else return;
  event.preventDefault();
});

document.getElementById("clear").addEventListener("click", clearPad);
document.getElementById("undo").addEventListener("click", undo);
eraseButton.addEventListener("click", () => eraseButton.setAttribute("aria-pressed", String(eraseButton.getAttribute("aria-pressed") === "false")));
document.getElementById("restore").addEventListener("click", () => {
  drawing.strokes = [];
  drawing.erases = [];
  changed();
});

// Things to try that are no digit of MNIST's kind.
const examples = {
  triangle: [[[60, 220], [140, 60], [220, 220], [60, 220]]],
  "european-one": [[[80, 130], [160, 50], [160, 230]]],
};
for (const button of document.querySelectorAll("[data-example]"))
  button.addEventListener("click", () => {
    newDrawing(null, examples[button.dataset.example].map((stroke) => stroke.map(([x, y]) => ({ x, y }))));
    const { probabilities } = show(normalised(drawing.strokes));
    const label = probabilities.indexOf(Math.max(...probabilities));
    note.textContent = `${button.dataset.name} is read as ${network.classes[label]}, at ${asPercent(probabilities[label])}. ${button.dataset.remark}`;
  });
