// Which pixels mattered: how much the predicted class's lead shrinks when a patch of the image is blanked.

const PATCH = 4; // pixels; every second position is tried
const occlusionButton = document.getElementById("occlusion");
const occlusionText = document.getElementById("occlusion-text");
let occlusionJob = 0;

// The lead of a class: its logit minus the highest other one.
function lead(logits, label) {
  return logits[label] - Math.max(...logits.filter((_, k) => k !== label));
}

function blanked(pixels, side, row, column) {
  const copy = Uint8Array.from(pixels);
  for (let plane = 0; plane < copy.length; plane += side * side)
    for (let y = row; y < Math.min(row + PATCH, side); y++)
      copy.fill(0, plane + y * side + column, plane + y * side + Math.min(column + PATCH, side));
  return copy;
}

function patches(side) {
  const starts = [];
  for (let k = 0; k + PATCH <= side; k += 2) starts.push(k);
  return starts.flatMap((row) => starts.map((column) => [row, column]));
}

// At each pixel the drop of the largest size among the patches that cover it.
function dropMap(drops, side) {
  const map = new Float32Array(side * side);
  patches(side).forEach(([row, column], k) => {
    for (let y = row; y < row + PATCH; y++)
      for (let x = column; x < column + PATCH; x++)
        if (Math.abs(drops[k]) > Math.abs(map[y * side + x])) map[y * side + x] = drops[k];
  });
  return map;
}

function forgetOcclusion() {
  occlusionJob++;
  document.getElementById("occlusion-map").hidden = true;
  occlusionText.textContent = "";
}

occlusionButton.addEventListener("click", () => {
  if (!pixelsShown) return;
  const job = ++occlusionJob;
  const { side } = network;
  const label = shown.probabilities.indexOf(Math.max(...shown.probabilities));
  const before = lead(shown.logits, label);
  const places = patches(side);
  const drops = [];
  occlusionText.textContent = "Computing …";
  const work = () => {
    if (job !== occlusionJob) return;
    const until = performance.now() + 30;
    while (drops.length < places.length && performance.now() < until)
      drops.push(before - lead(classify(blanked(pixelsShown, side, ...places[drops.length])).logits, label));
    if (drops.length < places.length) return setTimeout(work);
    const canvas = document.getElementById("occlusion-map");
    const largest = Math.max(...drops.map(Math.abs));
    paintSigned(canvas, dropMap(drops, side), side, largest);
    canvas.hidden = false;
    const most = drops.indexOf(Math.max(...drops));
    const changed = drops.filter((drop) => drop > before).length;
    occlusionText.textContent = `Blue: blanking a ${PATCH} × ${PATCH} patch there lowers the lead of ${network.classes[label]} (its logit minus the next highest, `
      + `${brief(before, 3)}), at most by ${brief(drops[most], 3)}; orange: it raises it. ${changed} of ${drops.length} patches change the prediction.`;
  };
  work();
});
