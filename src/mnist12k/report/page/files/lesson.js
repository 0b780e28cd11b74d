// A training to watch: the small network learns from the page's digits, and from what the reader teaches it.

const EPOCHS = 20; // after which a training stops by itself
const BATCH = 10;
const RATE = 0.1;
const COPIES = 10; // per epoch of a taught drawing, which would be lost among all others
const SURE = 0.9; // the probability at which a drawing is learnt
const stillPictures = matchMedia("(prefers-reduced-motion: reduce)"); // then they change when training stops
const lessonElement = (name) => document.getElementById(`lesson-${name}`);

// {levels, label} of the digits to learn from, and of the others.
function unpacked({ pixels, labels, learnt }) {
  const packed = bytes(pixels);
  const size = FRAME * FRAME;
  const all = labels.map((label, number) => {
    const level = (k) => (packed[(number * size + k) >> 1] >> (k % 2 ? 0 : 4)) & 15;
    return { label, levels: Float64Array.from({ length: size }, (_, k) => level(k) / 15) };
  });
  return [all.slice(0, learnt), all.slice(learnt)];
}

const [learntDigits, otherDigits] = unpacked(data.lesson);

function newLearner(seed) {
  const random = randomFrom(seed);
  const learner = { seed, random, weights: newWeights(random), taught: [], scores: [], batches: null, goal: EPOCHS };
  learner.scores.push(scoresOf(learner));
  return learner;
}

function scoresOf({ weights }) {
  const [learnt, others] = [learntDigits, otherDigits].map((digits) => {
    let [loss, wrong] = [0, 0];
    for (const { levels, label } of digits) {
      const { probabilities } = forward(weights, levels);
      loss -= Math.log(probabilities[label]) / digits.length;
      wrong += mostProbable(probabilities) !== label;
    }
    return { loss, error: (100 * wrong) / digits.length };
  });
  return { learnt, others };
}

function mostProbable(probabilities) {
  return probabilities.indexOf(Math.max(...probabilities));
}

// The batches of one epoch, in a new order, each learnt as it is asked for.
function* epochOf(learner) {
  const order = [...learntDigits, ...learner.taught.flatMap((digit) => Array(COPIES).fill(digit))];
  for (let k = order.length - 1; k > 0; k--) {
    const other = Math.floor(learner.random() * (k + 1));
    [order[k], order[other]] = [order[other], order[k]];
  }
  for (let k = 0; k < order.length; k += BATCH) {
    descendOnce(learner.weights, lossAndGradients(learner.weights, order.slice(k, k + BATCH)).slopes, RATE);
    yield;
  }
  learner.scores.push(scoresOf(learner));
}

function isLearnt({ levels, label }) {
  return forward(learner.weights, levels).probabilities[label] > SURE;
}

let learner = newLearner(1);
let lesson = null; // the training that runs: {teaching}

function isFinished() {
  const epoch = learner.scores.length - 1;
  return epoch >= learner.goal || (lesson.teaching && epoch >= EPOCHS && learner.taught.every(isLearnt));
}

function startLesson(teaching) {
  const current = (lesson = { teaching });
  if (learner.scores.length > learner.goal || teaching) learner.goal = learner.scores.length - 1 + EPOCHS;
  lessonElement("train").textContent = "Pause";
  document.getElementById("lesson").classList.remove("untrained");
  const work = () => {
    if (current !== lesson) return;
    const until = performance.now() + 20;
    while (performance.now() < until) {
      learner.batches ??= epochOf(learner);
      if (!learner.batches.next().done) continue;
      learner.batches = null;
      if (isFinished()) return finishLesson();
      if (!stillPictures.matches) showLearner();
    }
    if (!stillPictures.matches) showFilters();
    setTimeout(work);
  };
  work();
}

function pauseLesson() {
  lesson = null;
  lessonElement("train").textContent = "Train";
  showLearner();
}

function finishLesson() {
  const { teaching } = lesson;
  const epoch = (learner.goal = learner.scores.length - 1);
  pauseLesson();
  if (!teaching) lessonElement("said").textContent = `Stopped after ${epoch} epochs.`;
  else {
    const { levels, label, before, since } = learner.taught.at(-1);
    const count = epoch - since;
    lessonElement("said").textContent = `Taught as ${network.classes[label]}: read as ${before} before, as ${readingOf(levels)} after ${count} epoch${count === 1 ? "" : "s"} with it.`;
  }
}

// As "7, at 81.0 %".
function readingOf(levels) {
  const { probabilities } = forward(learner.weights, levels);
  const label = mostProbable(probabilities);
  return `${network.classes[label]}, at ${asPercent(probabilities[label])}`;
}

// Its series: of the digits to learn from, and of the others, with room for the epochs to come.
function lessonSeries(name) {
  const values = (set) => Array.from({ length: learner.goal + 1 }, (_, epoch) => learner.scores[epoch]?.[set][name] ?? null);
  return [{ name: "learnt", values: values("learnt") }, { name: "others", values: values("others") }];
}

function lessonChart(id, name, label, y) {
  const spec = () => ({ x: { name: "epoch", values: [...Array(learner.goal + 1).keys()] }, series: lessonSeries(name) });
  const drawn = chart(lessonElement(id), { label, y, ...spec(), still: true });
  return () => {
    drawn.update(spec());
    drawn.move(learner.scores.length - 1);
  };
}

const lessonCharts = [
  lessonChart("loss", "loss", "Loss after each epoch, on the digits learnt from and on others", { name: "loss", log: true }),
  lessonChart("error", "error", "Error rate after each epoch, on the digits learnt from and on others", { name: "error rate in %", log: false, show: (value) => (value === null ? "none" : `${brief(value, 3)} %`) }),
];

const filterCanvases = Array.from({ length: FILTERS }, (_, number) => {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `filter ${number + 1}`);
  return canvas;
});
document.getElementById("filters").append(...filterCanvases);

function showFilters() {
  const { filters } = learner.weights;
  const largest = filters.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0);
  const size = KERNEL * KERNEL;
  filterCanvases.forEach((canvas, k) => paintSigned(canvas, filters.subarray(k * size, (k + 1) * size), KERNEL, largest));
}

function showReading(pixels) {
  paint(lessonElement("input"), pixels ? [...pixels].map((p) => p / 255) : new Array(FRAME * FRAME).fill(0), FRAME);
  lessonElement("reading").textContent = pixels ? readingOf(Float64Array.from(pixels, (p) => p / 255)) : "–";
}

function showLearner() {
  showFilters();
  for (const show of lessonCharts) show();
  showReading(pixelsShown);
  const { learnt, others } = learner.scores.at(-1);
  const count = learner.taught.length;
  const right = ({ error }) => `${brief(100 - error, 3)} %`;
  lessonElement("state").textContent = `Random start ${learner.seed}, epoch ${learner.scores.length - 1} of ${learner.goal}: it reads ${right(learnt)} of the ${learntDigits.length} digits correctly, `
    + `and ${right(others)} of the ${otherDigits.length} others.${count ? ` ${count} drawing${count === 1 ? " has" : "s have"} been taught, ${COPIES} times per epoch.` : ""}`;
}

lessonElement("train").addEventListener("click", () => {
  lessonElement("said").textContent = "";
  if (lesson) pauseLesson();
  else startLesson(false);
});
lessonElement("again").addEventListener("click", () => {
  learner = newLearner(learner.seed + 1);
  lessonElement("said").textContent = "";
  pauseLesson();
});
document.getElementById("teach").addEventListener("click", () => {
  if (!pixelsShown) {
    lessonElement("said").textContent = "Draw a digit on the pad first.";
    return;
  }
  const levels = Float64Array.from(pixelsShown, (p) => p / 255);
  const since = learner.scores.length - 1;
  learner.taught.push({ levels, label: Number(lessonElement("label").value), before: readingOf(levels), since });
  lessonElement("said").textContent = "";
  startLesson(true);
});

lessonElement("parameters").textContent = Object.values(learner.weights).reduce((sum, values) => sum + values.length, 0).toLocaleString("en");
showLearner();
followers.push(showReading);
