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

clearPad = () => {
  padContext.clearRect(0, 0, pad.width, pad.height);
  pad.parentElement.classList.add("empty");
  pen.down = false;
  movePen({ x: pad.width / 2, y: pad.height / 4 });
  note.textContent = "";
  show(null);
};

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
  } else if (event.key === "Delete" || event.key === "Backspace") clearPad();
  else return;
  event.preventDefault();
});
document.getElementById("clear").addEventListener("click", clearPad);
