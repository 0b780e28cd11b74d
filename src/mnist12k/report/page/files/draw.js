// The drawing pad, for mouse, finger and keyboard; the network classifies the drawing at every stroke.

const pad = document.getElementById("pad");
const padContext = pad.getContext("2d", { willReadFrequently: true });
const pen = { x: pad.width / 2, y: pad.height / 4, down: false };
const penMarker = document.getElementById("pen");
const penWidth = pad.width / 13; // about that of MNIST's strokes if the digit fills most of the pad

// Crop to the ink, scale its longer side to 20 pixels, and move its centre of mass to pixel (14, 14)
// of 28 x 28, to the nearest pixel, as in MNIST's images. levels: side x side, from 0 to 1.
function prepare(levels, side) {
  let [left, right, top, bottom] = [side, -1, side, -1];
  levels.forEach((level, k) => {
    if (level < 0.1) return;
    const [x, y] = [k % side, Math.floor(k / side)];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  });
  if (right < 0) return null;
  const [width, height] = [right - left + 1, bottom - top + 1];
  const scale = Math.max(width, height) / 20;
  const [columns, rows] = [width, height].map((length) => Math.max(1, Math.round(length / scale)));
  const small = new Float32Array(columns * rows);
  let [mass, massX, massY] = [0, 0, 0];
  for (let k = 0; k < small.length; k++) {
    const [column, row] = [k % columns, Math.floor(k / columns)];
    const [x0, x1] = [column, column + 1].map((c) => left + (c * width) / columns);
    const [y0, y1] = [row, row + 1].map((r) => top + (r * height) / rows);
    let sum = 0; // of the pixels, weighted by their overlap with this box
    for (let y = Math.floor(y0); y < y1; y++)
      for (let x = Math.floor(x0); x < x1; x++)
        sum += levels[y * side + x] * (Math.min(x + 1, x1) - Math.max(x, x0)) * (Math.min(y + 1, y1) - Math.max(y, y0));
    small[k] = sum / ((x1 - x0) * (y1 - y0));
    [mass, massX, massY] = [mass + small[k], massX + small[k] * column, massY + small[k] * row];
  }
  const [shiftX, shiftY] = [14 - Math.round(massX / mass), 14 - Math.round(massY / mass)];
  const pixels = new Uint8ClampedArray(784);
  small.forEach((level, k) => {
    const [x, y] = [(k % columns) + shiftX, Math.floor(k / columns) + shiftY];
    if (x >= 0 && x < 28 && y >= 0 && y < 28) pixels[y * 28 + x] = Math.round(255 * level);
  });
  return pixels;
}

// One value per pixel, from 0 to 1: the opacity of one colour.
function paint(canvas, values, side, [red, green, blue] = [0, 0, 0]) {
  canvas.width = canvas.height = side;
  const image = new ImageData(side, side);
  values.forEach((value, k) => image.data.set([red, green, blue, 255 * value], 4 * k));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function paintLayer(canvas, x) {
  const across = Number(canvas.dataset.across);
  const down = Math.ceil(x.channels / across);
  const zoom = Math.max(1, Math.floor(112 / x.side / Math.sqrt(x.channels / 8)));
  const gap = Math.max(1, Math.round(zoom / 2)) + 1;
  canvas.width = across * (x.side * zoom + gap) - gap;
  canvas.height = down * (x.side * zoom + gap) - gap;
  const context = canvas.getContext("2d");
  const largest = x.values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  const size = x.side * x.side;
  context.fillStyle = "rgba(128, 128, 128, 0.1)";
  for (let channel = 0; channel < x.channels; channel++)
    context.fillRect((channel % across) * (x.side * zoom + gap), Math.floor(channel / across) * (x.side * zoom + gap), x.side * zoom, x.side * zoom);
  x.values.forEach((value, k) => {
    const channel = Math.floor(k / size);
    const [column, row] = [k % x.side, Math.floor(k / x.side) % x.side];
    if (value === 0) return;
    context.fillStyle = value < 0 ? `rgba(214, 111, 44, ${-value / largest})` : `rgba(64, 135, 214, ${value / largest})`;
    context.fillRect((channel % across) * (x.side * zoom + gap) + column * zoom, Math.floor(channel / across) * (x.side * zoom + gap) + row * zoom, zoom, zoom);
  });
}

const inputCanvas = document.getElementById("network-input");
const predictionOutput = document.getElementById("prediction");
const note = document.getElementById("drawing-note");
const bars = [...document.querySelectorAll("#bars li")];
const layerCanvases = [...document.querySelectorAll("[data-layer]")];

// pixels: 784 grey levels, or null for an empty pad, for which the network would still predict a digit.
function show(pixels) {
  paint(inputCanvas, pixels ? [...pixels].map((p) => p / 255) : new Array(784).fill(0), 28);
  const result = pixels && classify(pixels);
  bars.forEach((bar, digit) => {
    const probability = result ? result.probabilities[digit] : 0;
    bar.querySelector("i").style.width = `${100 * probability}%`;
    bar.querySelector("b").textContent = result ? `${(100 * probability).toFixed(1)} %` : "–";
    bar.classList.toggle("first", Boolean(result) && probability === Math.max(...result.probabilities));
  });
  predictionOutput.textContent = result ? String(result.probabilities.indexOf(Math.max(...result.probabilities))) : "–";
  const outputs = result ? result.outputs : classify(new Uint8Array(784)).outputs.map((x) => ({ ...x, values: x.values.map(() => 0) }));
  layerCanvases.forEach((canvas, k) => paintLayer(canvas, outputs[k]));
}

let scheduled = false;

function classifySoon() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    const rgba = padContext.getImageData(0, 0, pad.width, pad.height).data;
    show(prepare(Float32Array.from({ length: pad.width * pad.height }, (_, k) => rgba[4 * k + 3] / 255), pad.width));
  });
}

function line(from, to) {
  padContext.lineWidth = penWidth;
  padContext.lineCap = padContext.lineJoin = "round";
  padContext.beginPath();
  padContext.moveTo(from.x, from.y);
  padContext.lineTo(to.x, to.y);
  padContext.stroke();
  pad.parentElement.classList.remove("empty");
  note.textContent = "";
  classifySoon();
}

function positionOf(event) {
  const box = pad.getBoundingClientRect();
  return { x: ((event.clientX - box.left) / box.width) * pad.width, y: ((event.clientY - box.top) / box.height) * pad.height };
}

function movePen(to) {
  if (pen.down) line(pen, to);
  Object.assign(pen, to);
  penMarker.style.left = `${(100 * pen.x) / pad.width}%`;
  penMarker.style.top = `${(100 * pen.y) / pad.height}%`;
  penMarker.classList.toggle("down", pen.down);
}

function clear() {
  padContext.clearRect(0, 0, pad.width, pad.height);
  pad.parentElement.classList.add("empty");
  pen.down = false;
  movePen({ x: pad.width / 2, y: pad.height / 4 });
  note.textContent = "";
  show(null);
}

pad.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  pad.focus({ preventScroll: true });
  pad.setPointerCapture(event.pointerId);
  pen.down = false;
  movePen(positionOf(event));
  pen.down = true;
  movePen({ x: pen.x + 0.01, y: pen.y });
});
pad.addEventListener("pointermove", (event) => {
  if (event.buttons && pen.down) for (const part of event.getCoalescedEvents?.() ?? [event]) movePen(positionOf(part));
});
for (const name of ["pointerup", "pointercancel"])
  pad.addEventListener(name, () => { pen.down = false; penMarker.classList.remove("down"); });

const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
pad.addEventListener("keydown", (event) => {
  if (event.key in steps) {
    const [dx, dy] = steps[event.key].map((d) => (d * pad.width) / 40);
    const clamp = (value) => Math.max(penWidth / 2, Math.min(pad.width - penWidth / 2, value));
    movePen({ x: clamp(pen.x + dx), y: clamp(pen.y + dy) });
  } else if (event.key === " ") {
    pen.down = !pen.down;
    movePen({ x: pen.x, y: pen.y });
  } else if (event.key === "Delete" || event.key === "Backspace") clear();
  else return;
  event.preventDefault();
});
document.getElementById("clear").addEventListener("click", clear);
