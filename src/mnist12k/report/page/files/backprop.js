// The 2-2-2 network in float64, with the operations of mnist12k/backprop/network.py in their order.

const study = data.backprop;

function sigmoid(x) {
  const e = Math.exp(-Math.abs(x));
  return (x >= 0 ? 1 : e) / (1 + e);
}

// Every number of one iteration by its name in the derivation; new_w1 to new_w8 are the updated weights.
function iteration(w, rate) {
  const n = { η: rate };
  [n.i1, n.i2] = study.inputs;
  [n.t1, n.t2] = study.targets;
  [n.b1, n.b2] = study.biases;
  w.forEach((weight, k) => { n[`w${k + 1}`] = weight; });
  n.h1 = n.w1 * n.i1 + n.w2 * n.i2 + n.b1;
  n.h2 = n.w3 * n.i1 + n.w4 * n.i2 + n.b1;
  n.a_h1 = sigmoid(n.h1);
  n.a_h2 = sigmoid(n.h2);
  n.o1 = n.w5 * n.a_h1 + n.w6 * n.a_h2 + n.b2;
  n.o2 = n.w7 * n.a_h1 + n.w8 * n.a_h2 + n.b2;
  n.a_o1 = sigmoid(n.o1);
  n.a_o2 = sigmoid(n.o2);
  n.E1 = (n.t1 - n.a_o1) ** 2 / 2;
  n.E2 = (n.t2 - n.a_o2) ** 2 / 2;
  n.E_total = n.E1 + n.E2;

  n.dE1_da_o1 = n.a_o1 - n.t1;
  n.da_o1_do1 = n.a_o1 * (1 - n.a_o1);
  n.do1_dw5 = n.a_h1;
  const dE_do1 = n.dE1_da_o1 * n.da_o1_do1;
  const dE_do2 = (n.a_o2 - n.t2) * n.a_o2 * (1 - n.a_o2);
  n.dE_dw5 = dE_do1 * n.a_h1;
  n.dE_dw6 = dE_do1 * n.a_h2;
  n.dE_dw7 = dE_do2 * n.a_h1;
  n.dE_dw8 = dE_do2 * n.a_h2;
  n.dE1_da_h1 = dE_do1 * n.w5;
  n.dE2_da_h1 = dE_do2 * n.w7;
  n.dE_da_h1 = n.dE1_da_h1 + n.dE2_da_h1;
  n.dE1_da_h2 = dE_do1 * n.w6;
  n.dE2_da_h2 = dE_do2 * n.w8;
  n.dE_da_h2 = n.dE1_da_h2 + n.dE2_da_h2;
  n.da_h1_dh1 = n.a_h1 * (1 - n.a_h1);
  n.dh1_dw1 = n.i1;
  const dE_dh1 = n.dE_da_h1 * n.a_h1 * (1 - n.a_h1);
  const dE_dh2 = n.dE_da_h2 * n.a_h2 * (1 - n.a_h2);
  n.dE_dw1 = dE_dh1 * n.i1;
  n.dE_dw2 = dE_dh1 * n.i2;
  n.dE_dw3 = dE_dh2 * n.i1;
  n.dE_dw4 = dE_dh2 * n.i2;
  w.forEach((weight, k) => { n[`new_w${k + 1}`] = weight - rate * n[`dE_dw${k + 1}`]; });
  return n;
}

function descend(weights, rate, iterations) {
  const numbers = [];
  for (let w = weights; numbers.length <= iterations; ) {
    const n = iteration(w, rate);
    numbers.push(n);
    w = w.map((_, k) => n[`new_w${k + 1}`]);
  }
  return numbers;
}

const lab = document.getElementById("lab");
const rateSlider = document.getElementById("rate");
const fields = [...lab.querySelectorAll("[data-weight]")];
const playButton = document.getElementById("play");
let trajectory = descend(study.weights, study.rate, study.iterations);
let playing = null;

function currentRate() {
  // Rounded, so that the rate shown is the rate used.
  return Number((10 ** Number(rateSlider.value)).toPrecision(3));
}

function bracketed(value, digits) {
  const text = brief(value, digits);
  return digits < 10 && (value < 0 || text.includes("·")) ? `(${text})` : text;
}

function showIteration(index) {
  const n = trajectory[index];
  for (const element of document.querySelectorAll("[data-number]"))
    element.textContent = bracketed(n[element.dataset.number], 6);
  for (const element of document.querySelectorAll("[data-value]"))
    element.textContent = brief(n[element.dataset.value], Number(element.dataset.digits || 10));
  for (const element of document.querySelectorAll("[data-edge]")) {
    const weight = n[element.dataset.edge];
    element.textContent = Math.abs(weight) < 10 ? weight.toFixed(4).replace("-", "−") : brief(weight);
  }
  const largest = Math.max(...fields.map((_, k) => Math.abs(n[`dE_dw${k + 1}`]))) || 1;
  lab.querySelectorAll(".edge").forEach((edge, k) => {
    const slope = n[`dE_dw${k + 1}`];
    edge.setAttribute("stroke-width", (1 + (4 * Math.abs(slope)) / largest).toFixed(2));
    edge.setAttribute("class", `edge ${slope > 0 ? "down" : "up"}`);
  });
  document.querySelectorAll(".iteration").forEach((element) => { element.textContent = index; });
}

function stop() {
  clearInterval(playing);
  playing = null;
  playButton.textContent = "Play";
}

function step() {
  if (curve.index >= study.iterations) return stop();
  curve.move(curve.index + 1);
}

function losses() {
  return [{ name: "loss", values: trajectory.map((n) => n.E_total) }];
}

function recompute() {
  const weights = fields.map((field) => (field.value === "" ? NaN : Number(field.value)));
  fields.forEach((field, k) => field.setAttribute("aria-invalid", !(Math.abs(weights[k]) <= 1e6)));
  document.getElementById("rate-value").textContent = currentRate();
  rateSlider.setAttribute("aria-valuetext", String(currentRate()));
  if (!weights.every((weight) => Math.abs(weight) <= 1e6)) return;
  trajectory = descend(weights, currentRate(), study.iterations);
  curve.update(losses());
}

const curve = chart(document.getElementById("loss-chart"), {
  label: "Loss after each update, with the learning rate and the initial weights chosen above",
  x: { name: "update", values: trajectory.map((_, k) => k) },
  y: { name: "loss", log: true, show: (value) => brief(value, 6) },
  series: losses(),
  onMove: showIteration,
  still: true,
});

rateSlider.addEventListener("input", recompute);
fields.forEach((field) => field.addEventListener("input", recompute));
document.getElementById("step").addEventListener("click", () => { stop(); step(); });
playButton.addEventListener("click", () => {
  if (playing) return stop();
  if (curve.index >= study.iterations) curve.move(0);
  playing = setInterval(step, 150);
  playButton.textContent = "Pause";
});
function reset() {
  stop();
  fields.forEach((field, k) => { field.value = study.weights[k]; });
  rateSlider.value = Math.log10(study.rate);
  recompute();
  curve.move(0);
}

document.getElementById("reset").addEventListener("click", reset);
reset();

chart(document.getElementById("rates-chart"), {
  label: "Loss after each update, one line per learning rate",
  x: { name: "update", values: study.losses[0].loss.map((_, k) => k) },
  y: { name: "loss", log: true },
  series: study.losses.map(({ rate, loss }) => ({ name: `rate ${rate}`, values: loss })),
  start: study.iterations,
});

chart(document.getElementById("hill-chart"), {
  label: "Updates until the loss is below 0.0001, at learning rates from 0.01 to 1,000",
  x: { name: "learning rate", values: study.hill.learning_rate, log: true },
  y: { name: "updates needed", log: true, show: (value) => (value === null ? "never" : brief(value)) },
  series: [{ name: "updates needed", values: study.hill.updates_needed }],
  start: study.hill.learning_rate.findIndex((rate) => rate >= 33),
});

chart(document.getElementById("hill-loss-chart"), {
  label: `Loss after 1 update and after ${study.iterations} updates, at learning rates from 0.01 to 1,000`,
  x: { name: "learning rate", values: study.hill.learning_rate, log: true },
  y: { name: "loss", log: true, floor: 1e-12 },
  series: [
    { name: "after 1 update", values: study.hill.loss_after_1 },
    { name: `after ${study.iterations}`, values: study.hill.loss_after_study },
  ],
  start: study.hill.learning_rate.findIndex((rate) => rate >= 33),
});
