// The network after an earlier epoch: what it makes of the input, and how it read hold-out images.

const past = data.epochs;
const epochSlider = document.getElementById("epoch");

// 16-bit floats, which are finite, as numbers.
function halves(base64) {
  return Float32Array.from(new Uint16Array(bytes(base64).buffer), (bits) => {
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    return bits >> 15 ? -size : size;
  });
}

// One network per epoch, the last with the weights of 32 bits.
function networksOf({ epochs, weights }) {
  const values = halves(weights);
  const size = values.length / (epochs.length - 1);
  const last = { ...network };
  return epochs.map((_, k) => (k < epochs.length - 1 ? readNetwork(data.network, values.subarray(k * size, (k + 1) * size)) : last));
}

function showCounts(counts) {
  const highest = Math.log1p(Math.max(...counts));
  document.querySelectorAll("[data-count]").forEach((cell, k) => {
    if (!counts[k]) return cell.replaceChildren();
    const mark = document.createElement("span");
    mark.className = k % (network.classes.length + 1) ? "wrong" : "right"; // the diagonal is right
    mark.textContent = counts[k];
    mark.style.setProperty("--shade", (Math.log1p(counts[k]) / highest).toFixed(3));
    cell.replaceChildren(mark);
  });
}

function showEpoch(index, pastNetworks) {
  Object.assign(network, pastNetworks[index]);
  const { epochs, counts, images } = past;
  const text = `epoch ${epochs[index]} of ${epochs.at(-1)}`;
  epochSlider.value = index;
  epochSlider.setAttribute("aria-valuetext", text);
  document.getElementById("epoch-text").textContent = text;
  if (counts.length) {
    const side = network.classes.length;
    const right = counts[index].reduce((sum, count, k) => sum + (k % (side + 1) ? 0 : count), 0);
    document.getElementById("epoch-right").textContent = `${right.toLocaleString("en")} of ${images.toLocaleString("en")}`;
    showCounts(counts[index]);
  }
}

if (past) {
  const pastNetworks = networksOf(past);
  epochSlider.max = epochSlider.value = past.epochs.length - 1;
  epochSlider.addEventListener("input", () => {
    showEpoch(Number(epochSlider.value), pastNetworks);
    if (!note.textContent.startsWith("Test image")) note.textContent = ""; // it may quote a prediction
    show(pixelsShown);
  });
  showEpoch(past.epochs.length - 1, pastNetworks);
}
