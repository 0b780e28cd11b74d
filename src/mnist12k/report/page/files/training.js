// The training's and the search's charts.

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
const percentOf = (value) => (value === null ? "none" : `${brief(100 * value, 3)} %`);
trainingChart("training-loss", "Loss after each epoch, on the training images and on the hold-out set", "loss", (v) => v, (v) => brief(v));
trainingChart("training-error", "Error rate after each epoch, on the training images and on the hold-out set", "accuracy", errorRate, percentOf, percentOf);

// Pruned trials are hollow, at the loss at which they were stopped.
if (data.trials) {
  const { trial, loss, lowest, pruned } = data.trials;
  chart(document.getElementById("search-chart"), {
    label: "Validation loss of each trial, and the lowest so far of those that were not pruned",
    x: { name: "trial", values: trial },
    y: { name: "validation loss", log: true },
    series: [{ name: "loss", values: loss, points: true, hollow: pruned }, { name: "lowest so far", values: lowest }],
    start: trial.length - 1,
  });
}
