// Test images: the confusion matrix's cells and the hardest ones; and the training's and the search's charts.

const digits = data.digits;
const allPixels = bytes(digits.pixels);

const { side, classes } = network;

function pixelsOf(number) {
  return allPixels.subarray(side * side * number, side * side * (number + 1));
}

function topThree(image) {
  return image.probabilities
    .map((probability, label) => ({ label, probability }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, 3)
    .map(({ label, probability }) => `${classes[label]}: ${(100 * probability).toFixed(1)} %`);
}

// A button with the image; it shows the image to the network above.
function card(number) {
  const image = digits.images[number];
  const button = document.createElement("button");
  button.className = "card";
  const canvas = document.createElement("canvas");
  canvas.className = "digit";
  paint(canvas, [...pixelsOf(number)].map((p) => p / 255), side);
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
  clearPad();
  show(pixelsOf(number));
  note.textContent = `Test image ${image.index}, label ${classes[image.label]}.`;
  document.getElementById("draw").scrollIntoView();
  document.getElementById("pad")?.focus({ preventScroll: true });
}

const cell = document.getElementById("cell");
for (const button of document.querySelectorAll("[data-cell]"))
  button.addEventListener("click", () => {
    document.querySelectorAll("[data-cell]").forEach((other) => other.setAttribute("aria-pressed", other === button));
    const [label, prediction] = button.dataset.cell.split("-").map((number) => classes[number]);
    const numbers = digits.cells[button.dataset.cell] || [];
    const count = Number(button.textContent);
    const limit = numbers.length < count ? ` The ${numbers.length} with the lowest probability of the true class:` : "";
    cell.querySelector("p").textContent = `${label} read as ${prediction}: ${count} image${count === 1 ? "" : "s"}.${limit}`;
    cell.querySelector(".cards").replaceChildren(...numbers.map(card));
  });

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

const epochs = data.history;
function trainingChart(id, label, name, convert, show, tick) {
  const series = [{ name: "training, augmented", values: convert(epochs[`train_${name}`]) }];
  if (epochs[`validation_${name}`].some((value) => value !== null))
    series.push({ name: "validation", values: convert(epochs[`validation_${name}`]) });
  chart(document.getElementById(id), {
    label,
    x: { name: "epoch", values: epochs.epoch },
    y: { name: name === "loss" ? name : "error rate", log: true, show, tick },
    series,
    start: epochs.epoch.length - 1,
  });
}
const errorRate = (values) => values.map((value) => (value === null ? null : 1 - value));
const asPercent = (value) => (value === null ? "none" : `${brief(100 * value, 3)} %`);
trainingChart("training-loss", "Loss after each epoch, on the training images and on the hold-out set", "loss", (v) => v, (v) => brief(v));
trainingChart("training-error", "Error rate after each epoch, on the training images and on the hold-out set", "accuracy", errorRate, asPercent, asPercent);

if (data.trials)
  chart(document.getElementById("search-chart"), {
    label: "Validation loss of each trial, and the lowest so far",
    x: { name: "loss", values: data.trials.trial },
    y: { name: "validation loss", log: true },
    series: [{ name: "loss", values: data.trials.loss }, { name: "lowest so far", values: data.trials.lowest }],
    start: data.trials.trial.length - 1,
  });
