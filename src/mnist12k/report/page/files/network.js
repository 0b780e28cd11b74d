// The CNN's forward pass in evaluation mode, as in mnist12k/cnn/network.py.

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

// content.architecture is the list in mnist12k/cnn/architecture.py: the blocks, then the head.
function readNetwork(content) {
  const weights = new Float32Array(bytes(content.weights).buffer);
  let offset = 0;
  const take = (count) => weights.subarray(offset, (offset += count));
  const last = content.architecture.length - 1;
  const layers = content.architecture.map((convolution, index) => {
    const { channels_in, channels_out, kernel } = convolution;
    const layer = { ...convolution, weight: take(channels_out * channels_in * kernel * kernel), bias: take(channels_out) };
    if (index === last) return layer;
    const [gamma, beta, mean, variance] = Array.from({ length: 4 }, () => take(channels_out));
    // In evaluation mode batch norm is one factor and one addend per channel.
    layer.factor = gamma.map((g, c) => g / Math.sqrt(variance[c] + content.epsilon));
    layer.addend = beta.map((b, c) => b - mean[c] * layer.factor[c]);
    return layer;
  });
  return { mean: content.mean, std: content.std, blocks: layers.slice(0, last), head: layers[last] };
}

// x: {channels, side, values}; values are channel by channel, each row by row.
function convolve(x, layer) {
  const { side } = x;
  const { kernel, padding } = layer;
  const outSide = side + 2 * padding - kernel + 1;
  const values = new Float32Array(layer.channels_out * outSide * outSide);
  let index = 0;
  for (let out = 0; out < layer.channels_out; out++)
    for (let row = 0; row < outSide; row++)
      for (let column = 0; column < outSide; column++) {
        let sum = layer.bias[out];
        for (let channel = 0; channel < x.channels; channel++)
          for (let dy = 0; dy < kernel; dy++) {
            const y = row + dy - padding;
            if (y < 0 || y >= side) continue;
            for (let dx = 0; dx < kernel; dx++) {
              const sx = column + dx - padding;
              if (sx >= 0 && sx < side)
                sum += layer.weight[((out * x.channels + channel) * kernel + dy) * kernel + dx] * x.values[(channel * side + y) * side + sx];
            }
          }
        values[index++] = sum;
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
    const corner = (channel * x.side + 2 * row) * x.side + 2 * column;
    values[k] = Math.max(x.values[corner], x.values[corner + 1], x.values[corner + x.side], x.values[corner + x.side + 1]);
  }
  return { channels: x.channels, side, values };
}

// pixels: 784 grey levels, from 0 (background) to 255 (ink).
function classify(pixels) {
  let x = { channels: 1, side: 28, values: Float32Array.from(pixels, (p) => (p / 255 - network.mean) / network.std) };
  const outputs = [];
  for (const block of network.blocks) {
    x = normAndReLU(convolve(x, block), block);
    if (block.pool) x = maxPool(x);
    outputs.push(x);
  }
  x = convolve(x, network.head);
  outputs.push(x);
  const size = x.side * x.side;
  const logits = Array.from({ length: x.channels }, (_, k) => x.values.subarray(k * size, (k + 1) * size).reduce((a, b) => a + b) / size);
  const highest = Math.max(...logits);
  const exponentials = logits.map((logit) => Math.exp(logit - highest));
  const total = exponentials.reduce((a, b) => a + b);
  return { outputs, logits, probabilities: exponentials.map((value) => value / total) };
}

const network = readNetwork(data.network);
