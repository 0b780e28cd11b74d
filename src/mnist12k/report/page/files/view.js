// What the network sees: its input, the output of every layer, and the probabilities.

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
let clearPad = () => {}; // with a drawing pad, see draw.js
const note = document.getElementById("drawing-note");
const bars = [...document.querySelectorAll("#bars li")];
const layerCanvases = [...document.querySelectorAll("[data-layer]")];

// pixels: side x side grey levels, or null for an empty pad, for which the network would still predict a class.
function show(pixels) {
  const { side } = network;
  paint(inputCanvas, pixels ? [...pixels].map((p) => p / 255) : new Array(side * side).fill(0), side);
  const result = pixels && classify(pixels);
  bars.forEach((bar, label) => {
    const probability = result ? result.probabilities[label] : 0;
    bar.querySelector("i").style.width = `${100 * probability}%`;
    bar.querySelector("b").textContent = result ? `${(100 * probability).toFixed(1)} %` : "–";
    bar.classList.toggle("first", Boolean(result) && probability === Math.max(...result.probabilities));
  });
  predictionOutput.textContent = result ? network.classes[result.probabilities.indexOf(Math.max(...result.probabilities))] : "–";
  const outputs = result ? result.outputs : classify(new Uint8Array(side * side)).outputs.map((x) => ({ ...x, values: x.values.map(() => 0) }));
  layerCanvases.forEach((canvas, k) => paintLayer(canvas, outputs[k]));
}
