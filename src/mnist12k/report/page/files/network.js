// The CNN's forward pass in evaluation mode, as in mnist12k/cnn/network.py.

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

// content.architecture is an Architecture of mnist12k/cnn/architecture.py.
function readNetwork(content, weights = new Float32Array(bytes(content.weights).buffer)) {
  const { blocks, head, side, channels, classes, mean, deviation } = content.architecture;
  let offset = 0;
  const take = (count) => weights.subarray(offset, (offset += count));
  const linear = (inputs, outputs) => ({ outputs, weight: take(inputs * outputs), bias: take(outputs) });
  const convolution = (channels_in, channels, kernel, padding) =>
    ({ channels, kernel, padding, weight: take(channels * channels_in * kernel * kernel), bias: take(channels) });
  // In evaluation mode batch norm is one factor and one addend per channel.
  const normed = (layer) => {
    const [gamma, beta, mean, variance] = Array.from({ length: 4 }, () => take(layer.channels));
    const factor = gamma.map((g, c) => g / Math.sqrt(variance[c] + content.epsilon));
    return { ...layer, factor, addend: beta.map((b, c) => b - mean[c] * factor[c]) };
  };
  const entering = [{ channels, side }];
  const layers = blocks.map((block) => {
    const before = entering.at(-1);
    const layer = { ...block, ...normed(convolution(before.channels, block.channels, block.kernel, block.padding)) };
    if (block.projection) layer.projected = normed(convolution(entering.at(-block.residual).channels, block.channels, 1, 0));
    const convolved = before.side + 2 * block.padding - block.kernel + 1;
    entering.push({ channels: block.channels, side: block.pool ? convolved >> 1 : convolved });
    return layer;
  });
  const last = entering.at(-1);
  const values = last.channels * last.side * last.side;
  // A head turns maps into maps, one per class, whose means are the logits.
  const heads = {
    convolution: () => {
      const layer = convolution(last.channels, classes.length, head.kernel, 0);
      return { layer, head: (x) => convolve(x, layer) };
    },
    average: () => {
      const layer = linear(last.channels, classes.length);
      return { head: (x) => apply(layer, means(x)) };
    },
    dense: () => {
      const hidden = head.units ? linear(values, head.units) : null;
      const layer = linear(head.units || values, classes.length);
      return { head: (x) => apply(layer, hidden ? apply(hidden, x.values).values.map((v) => Math.max(0, v)) : x.values) };
    },
  };
  const { layer: headLayer = null, head: run } = heads[head.kind]();
  return { mean, deviation, side, channels, classes, blocks: layers, head: run, headLayer };
}

function means(x) {
  const size = x.side * x.side;
  return Array.from({ length: x.channels }, (_, k) => x.values.subarray(k * size, (k + 1) * size).reduce((a, b) => a + b) / size);
}

// Maps of one value each.
function apply(layer, inputs) {
  const values = layer.bias.map((bias, out) => {
    let sum = bias;
    for (let k = 0; k < inputs.length; k++) sum += layer.weight[out * inputs.length + k] * inputs[k];
    return sum;
  });
  return { channels: layer.outputs, side: 1, values };
}

// x: {channels, side, values}; values are channel by channel, each row by row.
function convolve(x, layer) {
  const { side } = x;
  const { kernel, padding } = layer;
  const outSide = side + 2 * padding - kernel + 1;
  const values = new Float32Array(layer.channels * outSide * outSide);
  let index = 0;
  for (let out = 0; out < layer.channels; out++)
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
  return { channels: layer.channels, side: outSide, values };
}

function norm(x, layer) {
  const size = x.side * x.side;
  return { ...x, values: x.values.map((v, k) => {
    const channel = Math.floor(k / size);
    return v * layer.factor[channel] + layer.addend[channel];
  }) };
}

function applyBlock(x, source, block) {
  let y = norm(convolve(x, block), block);
  if (source && block.projection) source = norm(convolve(source, block.projected), block.projected);
  y = { ...y, values: y.values.map((v, k) => Math.max(0, source ? v + source.values[k] : v)) };
  return block.pool ? maxPool(y) : y;
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

// pixels: side x side grey levels, from 0 (background) to 255 (ink); of a colour image all red ones first,
// then green, then blue.
function classify(pixels) {
  const image = { channels: network.channels, side: network.side, values: Float32Array.from(pixels, (p) => (p / 255 - network.mean) / network.deviation) };
  const maps = [image]; // what enters each block, then the head; at last what leaves it
  for (const block of network.blocks)
    maps.push(applyBlock(maps.at(-1), block.residual ? maps.at(-block.residual) : null, block));
  maps.push(network.head(maps.at(-1)));
  const logits = means(maps.at(-1));
  const highest = Math.max(...logits);
  const exponentials = logits.map((logit) => Math.exp(logit - highest));
  const total = exponentials.reduce((a, b) => a + b);
  return { maps, outputs: maps.slice(1), logits, probabilities: exponentials.map((value) => value / total) };
}

const network = readNetwork(data.network);
