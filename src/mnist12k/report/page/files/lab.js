// The lab: fields, slider, presets and buttons change the state; everything else follows it.

const rateSlider = document.getElementById("rate");
const labFields = [...document.querySelectorAll("[data-field]")];
const labMessage = document.getElementById("lab-message");
const presetSelect = document.getElementById("preset");
const playButton = document.getElementById("play");
let trajectory = descend(state, state.rate, study.iterations);
let playing = null;

let remembering = null;
let restoring = true; // nothing is written into the URL until the reader changes something

function losses() {
  return [{ name: "loss", values: trajectory.map((n) => n.E_total) }];
}

const curve = chart(document.getElementById("loss-chart"), {
  label: "Loss after each update, with the learning rate and the initial weights chosen above",
  x: { name: "update", values: trajectory.map((_, k) => k) },
  y: { name: "loss", log: true, show: (value) => brief(value, 6) },
  series: losses(),
  onMove: (index) => { showIteration(index); showSurface(index); rememberSoon(index); },
  still: true,
});

function rememberSoon(index) {
  if (restoring) return;
  document.getElementById("link").href = stateHash(index);
  clearTimeout(remembering);
  remembering = setTimeout(() => history.replaceState(null, "", stateHash(index)), 150);
}

function recompute() {
  trajectory = descend(state, state.rate, study.iterations);
  curve.update({ series: losses() });
  document.getElementById("rate-value").textContent = brief(state.rate, 6);
  rateSlider.value = Math.log10(state.rate);
  rateSlider.setAttribute("aria-valuetext", brief(state.rate, 6));
  presetSelect.value = presetOf(state) ?? "";
  followHill();
}

function showFields(except) {
  for (const field of labFields)
    if (field !== except) {
      field.value = getValue(field.dataset.field);
      field.removeAttribute("aria-invalid");
    }
}

function chooseRate(rate) {
  setValue("rate", rate);
  labMessage.textContent = "";
  showFields();
  recompute();
}

// While a field is invalid, the page computes with the value from before its editing began.
for (const field of labFields) {
  const name = field.dataset.field;
  const label = field.closest("label").querySelector("span").textContent;
  let before = getValue(name);
  field.addEventListener("focus", () => { before = getValue(name); });
  field.addEventListener("input", () => {
    const { value = before, problem } = parseNumber(field.value, ...limitsOf(name));
    field.setAttribute("aria-invalid", Boolean(problem));
    labMessage.textContent = problem
      ? `${label} = ${field.value.trim() || "nothing"}: it ${problem}. The page computes with ${before}.`
      : field.value.includes(",") ? `${label}: ${field.value.trim()} is read as ${value}.` : "";
    setValue(name, value);
    recompute();
  });
  field.addEventListener("change", () => { before = getValue(name); });
}

// Rounded, so that the rate shown is the rate used.
rateSlider.addEventListener("input", () => chooseRate(Number((10 ** Number(rateSlider.value)).toPrecision(3))));
for (const mark of document.querySelectorAll("[data-rate]"))
  mark.addEventListener("click", () => chooseRate(Number(mark.dataset.rate)));

function restore(values, update = 0) {
  stop();
  Object.assign(state, structuredClone(values));
  delete state.update;
  labMessage.textContent = "";
  showFields();
  recompute();
  curve.move(update);
}

presetSelect.addEventListener("change", () => {
  if (presetSelect.value) restore({ ...study.presets[presetSelect.value], rate: state.rate });
});
document.getElementById("reset").addEventListener("click", () => restore({ ...study.presets[presetNames[0]], rate: study.rate }));

function stop() {
  clearInterval(playing);
  playing = null;
  playButton.textContent = "Play";
}

function step() {
  if (curve.index >= study.iterations) return stop();
  curve.move(curve.index + 1);
}

document.getElementById("step").addEventListener("click", () => { stop(); step(); });
playButton.addEventListener("click", () => {
  if (playing) return stop();
  if (curve.index >= study.iterations) curve.move(0);
  playing = setInterval(step, 150);
  playButton.textContent = "Pause";
});

function restoreFromUrl() {
  const found = readHash(location.hash);
  if (!found) return false;
  restore(found, found.update);
  document.getElementById("lab").scrollIntoView();
  return true;
}

showFields();
recompute();
restoreFromUrl();
restoring = false;
document.getElementById("link").href = stateHash(curve.index);
window.addEventListener("hashchange", () => {
  if (!restoreFromUrl() && location.hash.startsWith("#lab?")) labMessage.textContent = "The link holds no network that can be shown.";
});
