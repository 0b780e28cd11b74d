// A network that is small enough to be trained within this page, in float64: a convolution of 5 x 5, max-pool
// over 4 x 4, ReLU, a linear layer, softmax. Descent is plain: no momentum, no averages, no augmentation.

const FILTERS = 8;
const KERNEL = 5;
const POOL = 4;
const SUMS = FRAME - KERNEL + 1; // the side of a map before pooling, 24
const POOLED = SUMS / POOL; // and after it, 6
const FEATURES = FILTERS * POOLED * POOLED;
const SCORES = 10;

// Numbers from 0 to 1 that follow from the seed (mulberry32).
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Biases of 0, and even weights between plus and minus the square root of 6 (3) by the values that enter a
// unit, as He et al. (2015) choose them before a ReLU (after the last layer there is none).
function newWeights(random) {
  const even = (count, limit) => Float64Array.from({ length: count }, () => (2 * random() - 1) * limit);
  return {
    filters: even(FILTERS * KERNEL * KERNEL, Math.sqrt(6 / (KERNEL * KERNEL))),
    filterBiases: new Float64Array(FILTERS),
    linear: even(SCORES * FEATURES, Math.sqrt(3 / FEATURES)),
    biases: new Float64Array(SCORES),
  };
}

// 24 x 24 sums: each pixel with ink is added to the sums of the windows that it is in; most have none.
function convolved5(filter, levels) {
  const sums = new Float64Array(SUMS * SUMS);
  for (let y = 0; y < FRAME; y++)
    for (let x = 0; x < FRAME; x++) {
      const level = levels[y * FRAME + x];
      if (level === 0) continue;
      for (let dy = Math.max(0, y - SUMS + 1); dy < KERNEL && dy <= y; dy++)
        for (let dx = Math.max(0, x - SUMS + 1); dx < KERNEL && dx <= x; dx++)
          sums[(y - dy) * SUMS + x - dx] += filter[dy * KERNEL + dx] * level;
    }
  return sums;
}

// levels: 28 x 28 from 0 to 1. `corners` are the windows of the largest sums: the pixel where each begins.
function forward({ filters, filterBiases, linear, biases }, levels) {
  const features = new Float64Array(FEATURES).fill(-Infinity);
  const corners = new Uint16Array(FEATURES);
  for (let filter = 0; filter < FILTERS; filter++) {
    const sums = convolved5(filters.subarray(filter * KERNEL * KERNEL, (filter + 1) * KERNEL * KERNEL), levels);
    for (let k = 0; k < sums.length; k++) {
      const [row, column] = [Math.floor(k / SUMS), k % SUMS];
      const feature = (filter * POOLED + Math.floor(row / POOL)) * POOLED + Math.floor(column / POOL);
      const sum = sums[k] + filterBiases[filter];
      if (sum > features[feature]) {
        features[feature] = sum;
        corners[feature] = row * FRAME + column;
      }
    }
  }
  for (let k = 0; k < FEATURES; k++) features[k] = Math.max(0, features[k]); // ReLU; after the max it is the same as before
  const logits = biases.map((bias, label) => {
    let sum = bias;
    for (let k = 0; k < FEATURES; k++) sum += linear[label * FEATURES + k] * features[k];
    return sum;
  });
  return { features, corners, probabilities: softmax(logits) };
}

function softmax(logits) {
  const highest = Math.max(...logits);
  const exponentials = logits.map((logit) => Math.exp(logit - highest));
  const total = exponentials.reduce((a, b) => a + b);
  return exponentials.map((value) => value / total);
}

// The mean loss over a batch of {levels, label}, and its slope in every weight. The loss of one image is
// -log(probability of its label).
function lossAndGradients(weights, batch) {
  const slopes = Object.fromEntries(Object.entries(weights).map(([name, values]) => [name, new Float64Array(values.length)]));
  let loss = 0;
  for (const { levels, label } of batch) {
    const { features, corners, probabilities } = forward(weights, levels);
    loss -= Math.log(probabilities[label]) / batch.length;
    const atFeatures = new Float64Array(FEATURES);
    for (let k = 0; k < SCORES; k++) {
      // dloss/dlogit = probability - 1 for the label, probability for the others.
      const atLogit = (probabilities[k] - (k === label)) / batch.length;
      slopes.biases[k] += atLogit; // dlogit/dbias = 1
      for (let f = 0; f < FEATURES; f++) {
        slopes.linear[k * FEATURES + f] += atLogit * features[f]; // dlogit/dweight = feature
        atFeatures[f] += atLogit * weights.linear[k * FEATURES + f]; // dlogit/dfeature = weight, over all logits
      }
    }
    for (let f = 0; f < FEATURES; f++) {
      if (features[f] === 0) continue; // where ReLU has cut, the loss does not depend on the sum
      const filter = Math.floor(f / (POOLED * POOLED));
      slopes.filterBiases[filter] += atFeatures[f]; // dsum/dbias = 1
      // Of a pooled window only the largest sum counts: dsum/dweight = the pixel below that weight.
      let k = filter * KERNEL * KERNEL;
      for (let dy = 0; dy < KERNEL; dy++)
        for (let dx = 0; dx < KERNEL; dx++) slopes.filters[k++] += atFeatures[f] * levels[corners[f] + dy * FRAME + dx];
    }
  }
  return { loss, slopes };
}

function descendOnce(weights, slopes, rate) {
  for (const name in weights)
    for (let k = 0; k < weights[name].length; k++) weights[name][k] -= rate * slopes[name][k];
}
