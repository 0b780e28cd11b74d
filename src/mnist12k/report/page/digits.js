// Test images to look at: the confusion matrix's cells, the hardest ones; and the training's curves.

const seen = data.digits;
const allPixels = bytes(seen.pixels);

function pixelsOf(number) {
  return allPixels.subarray(784 * number, 784 * (number + 1));
}

function said(image) {
  return image.probabilities
    .map((probability, digit) => ({ digit, probability }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, 3)
    .map(({ digit, probability }) => `${digit}: ${(100 * probability).toFixed(1)} %`);
}

// A button that holds the image, and lays it before the network above.
function card(number) {
  const image = seen.images[number];
  const button = document.createElement("button");
  button.className = "card";
  const canvas = document.createElement("canvas");
  canvas.className = "digit";
  paint(canvas, [...pixelsOf(number)].map((p) => p / 255), 28);
  const text = document.createElement("span");
  const verdict = image.label === image.prediction ? `a ${image.label}, read right` : `a ${image.label}, read as ${image.prediction}`;
  text.innerHTML = `<b>${verdict}</b><br>${said(image).join("<br>")}<br><small>test image ${image.index}</small>`;
  button.append(canvas, text);
  button.addEventListener("click", () => examine(number));
  return button;
}

function examine(number) {
  const image = seen.images[number];
  clear();
  show(pixelsOf(number));
  document.getElementById("shown-now").textContent = `Test image ${image.index}, a ${image.label}.`;
  document.getElementById("draw").scrollIntoView();
  pad.focus({ preventScroll: true });
}

const cellPlace = document.getElementById("cell");
for (const button of document.querySelectorAll("[data-cell]"))
  button.addEventListener("click", () => {
    document.querySelectorAll("[data-cell]").forEach((other) => other.setAttribute("aria-pressed", other === button));
    const [label, prediction] = button.dataset.cell;
    const numbers = seen.cells[button.dataset.cell] || [];
    const count = Number(button.textContent);
    const some = numbers.length < count ? `, the ${numbers.length} least certain` : "";
    cellPlace.querySelector("p").textContent = `${label} read as ${prediction}: ${count} image${count === 1 ? "" : "s"}${some}.`;
    cellPlace.querySelector(".cards").replaceChildren(...numbers.map(card));
  });

document.getElementById("hardest").append(...seen.hardest.map(card));
let next = 0;
document.getElementById("example").addEventListener("click", () => examine(seen.hardest[next++ % seen.hardest.length]));

clear();
// One starts with something to see: the clearest of the mistakes' neighbours, a right one.
const first = Object.keys(seen.cells).find((key) => key[0] === key[1]);
if (first) {
  const numbers = seen.cells[first];
  show(pixelsOf(numbers[numbers.length - 1]));
  document.getElementById("shown-now").textContent = `Until you draw: test image ${seen.images[numbers[numbers.length - 1]].index}.`;
}

const epochs = data.history;
function training(id, label, name, part, show, tick) {
  const series = [{ name: "training, augmented", values: part(epochs[`train_${name}`]) }];
  if (epochs[`validation_${name}`].some((value) => value !== null))
    series.push({ name: "validation", values: part(epochs[`validation_${name}`]) });
  chart(document.getElementById(id), {
    label,
    x: { name: "epoch", values: epochs.epoch },
    y: { name: name === "loss" ? name : "wrong answers", log: true, show, tick },
    series,
    start: epochs.epoch.length - 1,
  });
}
const wrong = (values) => values.map((value) => (value === null ? null : 1 - value));
const asPercent = (value) => (value === null ? "none" : `${brief(100 * value, 3)} %`);
training("training-loss", "The loss after each epoch, on the training and on the validation images", "loss", (v) => v, (v) => brief(v));
training("training-error", "The share of wrong answers after each epoch, on the training and on the validation images", "accuracy", wrong, asPercent, asPercent);

if (data.trials)
  chart(document.getElementById("search-chart"), {
    label: "The validation loss of each trial, and the lowest so far",
    x: { name: "trial", values: data.trials.trial },
    y: { name: "validation loss", log: true },
    series: [{ name: "this trial", values: data.trials.loss }, { name: "lowest so far", values: data.trials.lowest }],
    start: data.trials.trial.length - 1,
  });
