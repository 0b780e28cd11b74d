// One pixel of one map, with every number on the way to it: window, kernel, batch norm, ReLU, max-pool.

// The window of a convolution at one pixel, from each input map, with its kernel; 0 outside of the map.
function windows(x, layer, out, row, column) {
  const { kernel, padding } = layer;
  const across = [...Array(kernel * kernel).keys()];
  return Array.from({ length: x.channels }, (_, channel) => {
    const offset = (out * x.channels + channel) * kernel * kernel;
    const values = across.map((k) => {
      const [y, sx] = [row + Math.floor(k / kernel) - padding, column + (k % kernel) - padding];
      return y < 0 || y >= x.side || sx < 0 || sx >= x.side ? 0 : x.values[(channel * x.side + y) * x.side + sx];
    });
    const weights = across.map((k) => layer.weight[offset + k]);
    return { values, weights, sum: values.reduce((total, value, k) => total + value * weights[k], 0) };
  });
}

function convolved(x, layer, out, row, column) {
  const inputs = windows(x, layer, out, row, column);
  const bias = layer.bias[out];
  return { inputs, bias, sum: inputs.reduce((total, each) => total + each.sum, bias) };
}

// {inputs, bias, sum} and, in a block, {factor, addend, normed, shortcut, rectified, pooled}: of a pooled
// pixel those of the largest of its four, whose values are in `pooled`.
function probe(maps, { layer, map, row, column }) {
  const x = maps[layer];
  const block = network.blocks[layer];
  if (!block) return network.headLayer ? convolved(x, network.headLayer, map, row, column) : null;
  const at = (y, sx) => {
    const result = convolved(x, block, map, y, sx);
    const normed = result.sum * block.factor[map] + block.addend[map];
    const shortcut = block.residual ? shortcutAt(maps[layer + 1 - block.residual], block, map, y, sx) : null;
    return { ...result, factor: block.factor[map], addend: block.addend[map], normed, shortcut, rectified: Math.max(0, normed + (shortcut ?? 0)) };
  };
  if (!block.pool) return at(row, column);
  const four = [[0, 0], [0, 1], [1, 0], [1, 1]].map(([dy, dx]) => at(2 * row + dy, 2 * column + dx));
  const pooled = four.map(({ rectified }) => rectified);
  return { ...four[pooled.indexOf(Math.max(...pooled))], pooled };
}

function shortcutAt(source, block, map, row, column) {
  if (!block.projection) return source.values[(map * source.side + row) * source.side + column];
  return convolved(source, block.projected, map, row, column).sum * block.projected.factor[map] + block.projected.addend[map];
}

const probePanel = document.getElementById("probe");

// A square of numbers, tinted by their signs.
function numbersSquare(values, label) {
  const square = document.createElement("span");
  square.className = "square";
  square.style.setProperty("--across", Math.sqrt(values.length));
  square.setAttribute("role", "img");
  square.setAttribute("aria-label", `${label}: ${values.map((value) => brief(value, 2)).join(", ")}`);
  const largest = Math.max(...values.map(Math.abs));
  square.append(...values.map((value) => {
    const cell = document.createElement("i");
    const [red, green, blue, alpha] = signed(value, largest);
    cell.style.background = `rgba(${red}, ${green}, ${blue}, ${(0.6 * alpha) / 255})`;
    cell.textContent = brief(value, 2);
    return cell;
  }));
  return square;
}

function showProbe(at) {
  const result = probe(shown.maps, at);
  const { outputs } = shown;
  const last = at.layer === outputs.length - 1;
  const name = last ? `class ${network.classes[at.map]}` : `map ${at.map + 1}`;
  const head = document.createElement("h4");
  head.textContent = `Layer ${at.layer + 1}, ${name}, row ${at.row + 1}, column ${at.column + 1}`;
  if (!result) {
    const text = document.createElement("p");
    text.textContent = `A linear layer of all that enters it: ${brief(outputs[at.layer].values[at.map])}.`;
    return probePanel.replaceChildren(head, text);
  }
  const list = document.createElement("ol");
  list.append(...result.inputs.map(({ values, weights, sum }, channel) => {
    const row = document.createElement("li");
    row.append(numbersSquare(values, `window of map ${channel + 1}`), " × ", numbersSquare(weights, "kernel"), ` = ${brief(sum, 4)}`);
    return row;
  }));
  const n = (value) => bracketed(Number(value.toPrecision(4)));
  const lines = [`Sum of these and the bias ${brief(result.bias, 4)}: ${brief(result.sum, 4)}`];
  if (result.normed !== undefined) {
    lines.push(`Batch norm: ${n(result.sum)} · ${n(result.factor)} + ${n(result.addend)} = ${brief(result.normed, 4)}`);
    if (result.shortcut !== null) lines.push(`With the shortcut: ${n(result.normed)} + ${n(result.shortcut)} = ${brief(result.normed + result.shortcut, 4)}`);
    lines.push(`ReLU: the larger of 0 and that = ${brief(result.rectified, 4)}`);
  }
  if (result.pooled) lines.push(`Max-pool: the largest of ${result.pooled.map((value) => brief(value, 4)).join(", ")} = ${brief(Math.max(...result.pooled), 4)}`);
  if (last) lines.push(`The mean of this map is the logit of ${name}: ${brief(shown.logits[at.map], 4)}`);
  const text = document.createElement("div");
  text.append(...lines.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
  const from = document.createElement("p");
  from.className = "aside";
  from.textContent = `${result.inputs.length === 1 ? "The window" : `The windows of ${result.inputs.length} maps`} below this pixel, times the kernel${result.inputs.length === 1 ? "" : "s"}:`;
  list.tabIndex = 0;
  list.setAttribute("aria-label", "Windows and kernels");
  probePanel.replaceChildren(head, from, list, text);
}
