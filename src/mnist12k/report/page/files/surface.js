// A slice of the loss surface: the loss along two weights, the other six as at the update shown.

const SURFACE = 61; // values per axis
const surfaceCanvas = document.getElementById("surface");
const surfacePath = document.getElementById("surface-path");
const surfaceText = document.getElementById("surface-text");
const surfaceAxes = [...document.querySelectorAll("[data-axis]")];

// The values of a weight on the axis: those of its path, with as much room on either side.
function surfaceRange(weight) {
  const values = trajectory.map((n) => n[`w${weight + 1}`]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(high - low, 0.5);
  return [low - room, high + room];
}

// Losses row by row, the second weight's highest value first.
function surfaceLosses(small, weights, [first, second], [[left, right], [bottom, top]]) {
  const losses = new Float64Array(SURFACE * SURFACE);
  const w = [...weights];
  for (let k = 0; k < losses.length; k++) {
    w[first] = left + ((right - left) * (k % SURFACE)) / (SURFACE - 1);
    w[second] = top + ((bottom - top) * Math.floor(k / SURFACE)) / (SURFACE - 1);
    losses[k] = lossOf(small, w);
  }
  return losses;
}

function showSurface(index) {
  const pair = surfaceAxes.map((select) => Number(select.value));
  const ranges = pair.map(surfaceRange);
  const weights = state.weights.map((_, k) => trajectory[index][`w${k + 1}`]);
  const losses = surfaceLosses(state, weights, pair, ranges);
  const logs = losses.map((loss) => Math.log(Math.max(loss, 1e-12)));
  const [low, high] = [logs.reduce((a, b) => Math.min(a, b)), logs.reduce((a, b) => Math.max(a, b))];
  paintPixels(surfaceCanvas, logs, SURFACE, (value) => [106, 63, 181, (230 * (value - low)) / (high - low || 1)]);
  const place = (n) => pair.map((weight, k) => {
    const fraction = (n[`w${weight + 1}`] - ranges[k][0]) / (ranges[k][1] - ranges[k][0]);
    return (100 * (k ? 1 - fraction : fraction)).toFixed(2);
  });
  surfacePath.querySelector("polyline").setAttribute("points", trajectory.map((n) => place(n).join()).join(" "));
  const [cx, cy] = place(trajectory[index]);
  const dot = surfacePath.querySelector("circle");
  dot.setAttribute("cx", cx);
  dot.setAttribute("cy", cy);
  const [across, up] = pair.map((weight, k) => `w${weight + 1} from ${brief(ranges[k][0], 3)} to ${brief(ranges[k][1], 3)}`);
  surfaceText.textContent = `${across} to the right, ${up} upwards; the losses reach from ${brief(losses.reduce((a, b) => Math.min(a, b)), 3)} (light) to ${brief(losses.reduce((a, b) => Math.max(a, b)), 3)} (dark).`;
}

for (const select of surfaceAxes) select.addEventListener("change", () => showSurface(curve.index));
