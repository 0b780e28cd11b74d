// The hill of learning rates: those of the study, computed by Python; for any other network, here.

const hillRates = study.hill.learning_rate;
const hillHolder = document.getElementById("hill-chart");
const hillReadout = document.getElementById("hill-readout");
const regimes = [...document.querySelectorAll("#regimes li")].map(({ dataset }) => ({ from: Number(dataset.from), to: Number(dataset.to) }));
let hillOf = presetNames[0]; // the network whose hill is shown, or is being computed
let hillJob = 0;

const hillChart = chart(hillHolder, {
  label: `Updates until the loss is below ${study.target_loss}, at learning rates from 0.01 to 1,000; click to choose a rate`,
  x: { name: "learning rate", values: hillRates, log: true },
  y: { name: "updates needed", log: true },
  series: [{ name: "updates needed", values: study.hill.updates_needed }],
  bands: regimes,
  marks: study.marks.map(({ rate }) => rate),
  onPick: (rate) => chooseRate(Number(rate.toPrecision(4))),
});

function computeHill() {
  const job = ++hillJob;
  const small = structuredClone(state);
  const needed = [];
  const work = () => {
    if (job !== hillJob) return;
    const until = performance.now() + 12;
    while (needed.length < hillRates.length && performance.now() < until)
      needed.push(updatesNeeded(small, hillRates[needed.length], study.target_loss, study.patience));
    if (needed.length < hillRates.length) setTimeout(work);
    else showHill(needed, []);
  };
  work();
}

function showHill(needed, bands) {
  hillHolder.dataset.ready = hillOf;
  document.getElementById("regimes").hidden = !bands.length;
  hillChart.update({ series: [{ name: "updates needed", values: needed }], bands, marks: bands.length ? study.marks.map(({ rate }) => rate) : [] });
  moveHill();
}

function moveHill() {
  const needed = updatesNeeded(state, state.rate, study.target_loss, study.patience);
  hillReadout.textContent = needed === null
    ? `At ${brief(state.rate, 6)} the loss is not below ${study.target_loss} after ${study.patience.toLocaleString("en")} updates.`
    : `At ${brief(state.rate, 6)} the loss is below ${study.target_loss} after ${needed.toLocaleString("en")} update${needed === 1 ? "" : "s"}.`;
  if (state.rate < hillRates[0] || state.rate > hillRates.at(-1)) return;
  const distances = hillRates.map((rate) => Math.abs(Math.log(rate / state.rate)));
  hillChart.point(state.rate, distances.indexOf(Math.min(...distances)));
}

// The hill of the network in the lab, as soon as it is known.
function followHill() {
  const network = JSON.stringify(Object.values(parts).map((part) => state[part]));
  const studied = presetOf(state) === presetNames[0];
  if (hillOf === (studied ? presetNames[0] : network)) return moveHill();
  hillOf = studied ? presetNames[0] : network;
  if (studied) {
    hillJob++;
    return showHill(study.hill.updates_needed, regimes);
  }
  hillReadout.textContent = "Computing the hill of this network …";
  computeHill();
}

const rateLabel = (number) => `rate ${brief(number, 6)}`;
chart(document.getElementById("rates-chart"), {
  label: "Loss after each update, one line per learning rate",
  x: { name: "update", values: study.losses[0].loss.map((_, k) => k) },
  y: { name: "loss", log: true },
  series: study.losses.map(({ rate, loss }) => ({ name: rateLabel(rate), values: loss })),
  start: study.iterations,
});

const over30 = hillRates.findIndex((rate) => rate >= 33);
chart(document.getElementById("hill-loss-chart"), {
  label: `Loss after 1 update and after ${study.iterations} updates, at learning rates from 0.01 to 1,000`,
  x: { name: "learning rate", values: hillRates, log: true },
  y: { name: "loss", log: true, floor: study.floor },
  series: [
    { name: "after 1 update", values: study.hill.loss_after_1 },
    { name: `after ${study.iterations}`, values: study.hill.loss_after_study },
  ],
  bands: regimes,
  start: over30,
});

chart(document.getElementById("stable-chart"), {
  label: "2/λmax of the Hessian at the minimum that each learning rate reaches, and the learning rate itself",
  x: { name: "learning rate", values: hillRates, log: true },
  y: { name: "2/λmax", log: true, show: (value) => (value === null ? "no minimum reached" : brief(value)) },
  series: [
    { name: "2/λmax at the minimum reached", values: study.hill.stable_below },
    { name: "the learning rate", values: hillRates },
  ],
  bands: regimes,
  start: over30,
});
