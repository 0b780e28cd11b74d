// A digit drawn by mouse, finger or keyboard, prepared as MNIST was, and read while one draws.

const pad = document.getElementById("pad");
const ink = pad.getContext("2d", { willReadFrequently: true });
const pen = { x: pad.width / 2, y: pad.height / 4, down: false };
const marker = document.getElementById("pen");
const penWidth = pad.width / 13; // about MNIST's strokes, when the digit fills most of the pad

// Crop to the ink, bring its longer side to 20 pixels, and its centre of mass to the middle of 28:
// pixel (14, 14), which is where MNIST's own images have theirs, to the nearest pixel.
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
    let sum = 0; // each pixel by the share of it that lies in this box
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

// One value a pixel, from 0 to 1, as so much of one colour over whatever lies below.
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
  const most = x.values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  const size = x.side * x.side;
  context.fillStyle = "rgba(128, 128, 128, 0.1)";
  for (let channel = 0; channel < x.channels; channel++)
    context.fillRect((channel % across) * (x.side * zoom + gap), Math.floor(channel / across) * (x.side * zoom + gap), x.side * zoom, x.side * zoom);
  x.values.forEach((value, k) => {
    const channel = Math.floor(k / size);
    const [column, row] = [k % x.side, Math.floor(k / x.side) % x.side];
    if (value === 0) return;
    context.fillStyle = value < 0 ? `rgba(214, 111, 44, ${-value / most})` : `rgba(64, 135, 214, ${value / most})`;
    context.fillRect((channel % across) * (x.side * zoom + gap) + column * zoom, Math.floor(channel / across) * (x.side * zoom + gap) + row * zoom, zoom, zoom);
  });
}

const sight = document.getElementById("sight");
const answerPlace = document.getElementById("answer-now");
const bars = [...document.querySelectorAll("#bars li")];
const layerPictures = [...document.querySelectorAll("[data-layer]")];

function show(pixels) {
  paint(sight, pixels ? [...pixels].map((p) => p / 255) : new Array(784).fill(0), 28);
  // Without ink there is nothing to read: the network would still name a digit.
  const read = pixels && classify(pixels);
  bars.forEach((bar, digit) => {
    const probability = read ? read.probabilities[digit] : 0;
    bar.querySelector("i").style.width = `${100 * probability}%`;
    bar.querySelector("b").textContent = read ? `${(100 * probability).toFixed(1)} %` : "–";
    bar.classList.toggle("first", Boolean(read) && probability === Math.max(...read.probabilities));
  });
  answerPlace.textContent = read ? String(read.probabilities.indexOf(Math.max(...read.probabilities))) : "–";
  const layers = read ? read.layers : classify(new Uint8Array(784)).layers.map((x) => ({ ...x, values: x.values.map(() => 0) }));
  layerPictures.forEach((canvas, k) => paintLayer(canvas, layers[k]));
}

let waiting = false;

function readSoon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const rgba = ink.getImageData(0, 0, pad.width, pad.height).data;
    show(prepare(Float32Array.from({ length: pad.width * pad.height }, (_, k) => rgba[4 * k + 3] / 255), pad.width));
  });
}

function line(from, to) {
  ink.lineWidth = penWidth;
  ink.lineCap = ink.lineJoin = "round";
  ink.beginPath();
  ink.moveTo(from.x, from.y);
  ink.lineTo(to.x, to.y);
  ink.stroke();
  pad.parentElement.classList.remove("empty");
  document.getElementById("shown-now").textContent = "";
  readSoon();
}

function placeOf(event) {
  const box = pad.getBoundingClientRect();
  return { x: ((event.clientX - box.left) / box.width) * pad.width, y: ((event.clientY - box.top) / box.height) * pad.height };
}

function movePen(to) {
  if (pen.down) line(pen, to);
  Object.assign(pen, to);
  marker.style.left = `${(100 * pen.x) / pad.width}%`;
  marker.style.top = `${(100 * pen.y) / pad.height}%`;
  marker.classList.toggle("down", pen.down);
}

function clear() {
  ink.clearRect(0, 0, pad.width, pad.height);
  pad.parentElement.classList.add("empty");
  pen.down = false;
  movePen({ x: pad.width / 2, y: pad.height / 4 });
  document.getElementById("shown-now").textContent = "";
  show(null);
}

pad.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  pad.focus({ preventScroll: true });
  pad.setPointerCapture(event.pointerId);
  pen.down = false;
  movePen(placeOf(event));
  pen.down = true;
  movePen({ x: pen.x + 0.01, y: pen.y });
});
pad.addEventListener("pointermove", (event) => {
  if (event.buttons && pen.down) for (const part of event.getCoalescedEvents?.() ?? [event]) movePen(placeOf(part));
});
for (const name of ["pointerup", "pointercancel"])
  pad.addEventListener(name, () => { pen.down = false; marker.classList.remove("down"); });

const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
pad.addEventListener("keydown", (event) => {
  if (event.key in steps) {
    const [dx, dy] = steps[event.key].map((d) => (d * pad.width) / 40);
    const within = (value) => Math.max(penWidth / 2, Math.min(pad.width - penWidth / 2, value));
    movePen({ x: within(pen.x + dx), y: within(pen.y + dy) });
  } else if (event.key === " ") {
    pen.down = !pen.down;
    movePen({ x: pen.x, y: pen.y });
  } else if (event.key === "Delete" || event.key === "Backspace") clear();
  else return;
  event.preventDefault();
});
document.getElementById("clear").addEventListener("click", clear);
