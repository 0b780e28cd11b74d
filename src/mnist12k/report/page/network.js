// The CNN's forward pass, as mnist12k/cnn/network.py has it when it does not train.

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function readNetwork(content) {
  const weights = new Float32Array(bytes(content.weights).buffer);
  let at = 0;
  const take = (count) => weights.subarray(at, (at += count));
  const blocks = content.layers.map((layer) => {
    const out = layer.channels_out;
    const block = { ...layer, weight: take(out * layer.channels_in * 9), bias: take(out) };
    const [gamma, beta, mean, variance] = [take(out), take(out), take(out), take(out)];
    // Batch norm at rest is one factor and one addend a channel.
    block.factor = gamma.map((g, c) => g / Math.sqrt(variance[c] + content.epsilon));
    block.addend = beta.map((b, c) => b - mean[c] * block.factor[c]);
    return block;
  });
  const last = blocks[blocks.length - 1].channels_out;
  return { ...content, blocks, head: { channels_in: last, channels_out: 10, padding: 0, weight: take(10 * last * 9), bias: take(10) } };
}

// x: {channels, side, values}, a channel after another, each row by row.
function convolve(x, layer) {
  const { side } = x;
  const { padding } = layer;
  const outSide = side + 2 * padding - 2;
  const values = new Float32Array(layer.channels_out * outSide * outSide);
  let at = 0;
  for (let out = 0; out < layer.channels_out; out++)
    for (let row = 0; row < outSide; row++)
      for (let column = 0; column < outSide; column++) {
        let sum = layer.bias[out];
        for (let channel = 0; channel < x.channels; channel++)
          for (let dy = 0; dy < 3; dy++) {
            const y = row + dy - padding;
            if (y < 0 || y >= side) continue;
            for (let dx = 0; dx < 3; dx++) {
              const from = column + dx - padding;
              if (from >= 0 && from < side)
                sum += layer.weight[((out * x.channels + channel) * 3 + dy) * 3 + dx] * x.values[(channel * side + y) * side + from];
            }
          }
        values[at++] = sum;
      }
  return { channels: layer.channels_out, side: outSide, values };
}

function normAndReLU(x, block) {
  const size = x.side * x.side;
  return { ...x, values: x.values.map((v, k) => {
    const channel = Math.floor(k / size);
    return Math.max(0, v * block.factor[channel] + block.addend[channel]);
  }) };
}

function maxPool(x) {
  const side = x.side >> 1;
  const values = new Float32Array(x.channels * side * side);
  for (let k = 0; k < values.length; k++) {
    const [channel, row, column] = [Math.floor(k / side / side), Math.floor(k / side) % side, k % side];
    const at = (channel * x.side + 2 * row) * x.side + 2 * column;
    values[k] = Math.max(x.values[at], x.values[at + 1], x.values[at + x.side], x.values[at + x.side + 1]);
  }
  return { channels: x.channels, side, values };
}

// pixels: 784 grey levels, 0 the background, 255 the ink.
function classify(pixels) {
  let x = { channels: 1, side: 28, values: Float32Array.from(pixels, (p) => (p / 255 - network.mean) / network.std) };
  const layers = [];
  for (const block of network.blocks) {
    x = normAndReLU(convolve(x, block), block);
    if (block.pool) x = maxPool(x);
    layers.push(x);
  }
  x = convolve(x, network.head);
  layers.push(x);
  const size = x.side * x.side;
  const logits = Array.from({ length: 10 }, (_, k) => x.values.subarray(k * size, (k + 1) * size).reduce((a, b) => a + b) / size);
  const highest = Math.max(...logits);
  const parts = logits.map((logit) => Math.exp(logit - highest));
  const total = parts.reduce((a, b) => a + b);
  return { layers, logits, probabilities: parts.map((part) => part / total) };
}

const network = readNetwork(data.network);
