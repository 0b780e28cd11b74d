// What the network says of an image: its input, every layer, and the probabilities.

const inputCanvas = document.getElementById("network-input");
const predictionOutput = document.getElementById("prediction");
const note = document.getElementById("drawing-note");
const bars = [...document.querySelectorAll("#bars li")];
const followers = []; // functions of the pixels that are shown
let pixelsShown = null;
let clearPad = () => {}; // with a drawing pad, see pad.js
let loadOntoPad = () => {};

// pixels: as classify() takes them, or null for an empty pad, for which the network would still predict a class.
function show(pixels) {
  const { side, channels } = network;
  pixelsShown = pixels;
  forgetOcclusion();
  paintImage(inputCanvas, pixels);
  const result = classify(pixels ?? new Uint8Array(channels * side * side));
  const highest = Math.max(...result.probabilities);
  bars.forEach((bar, label) => {
    const probability = pixels ? result.probabilities[label] : 0;
    bar.querySelector("i").style.width = `${100 * probability}%`;
    bar.querySelector("b").textContent = pixels ? asPercent(probability) : "–";
    bar.classList.toggle("first", Boolean(pixels) && probability === highest);
  });
  predictionOutput.textContent = pixels ? network.classes[result.probabilities.indexOf(highest)] : "–";
  if (!pixels) result.maps.forEach((x) => x.values.fill(0));
  showMaps(result);
  for (const follow of followers) follow(pixels);
  return result;
}
