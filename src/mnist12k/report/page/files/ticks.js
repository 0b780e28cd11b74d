// The values that an axis names.

function tickText(value) {
  if (value > 0 && value < 1e-3) {
    const exponent = Math.floor(Math.log10(value) + 1e-9);
    const factor = Number((value / 10 ** exponent).toPrecision(3));
    return (factor === 1 ? "" : `${factor}·`) + power(exponent);
  }
  return Number(value.toPrecision(3)).toLocaleString("en");
}

function evenTicks(low, high, count, smallestStep) {
  const rough = (high - low) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(smallestStep, [1, 2, 5, 10].find((factor) => factor * unit >= rough) * unit);
  const values = [];
  for (let k = Math.ceil(low / step); k * step <= high + step / 1e6; k++) values.push(k * step);
  return values;
}

function ticks(low, high, log, count) {
  if (!log) return evenTicks(low, high, count, 1); // every linear axis counts something
  const values = [];
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const every = Math.ceil((last - first + 1) / count);
  for (let exponent = first; exponent <= last; exponent += every)
    for (const factor of last - first < 2 ? [1, 2, 5] : [1]) values.push(factor * 10 ** exponent);
  if (last - first < 2) for (const factor of [2, 5]) values.push(factor * 10 ** (first - 1));
  const visible = values.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  return visible.length > 1 ? visible : evenTicks(low, high, count, 0);
}

// The function from values to positions.
function axis(from, to, log, start, end) {
  const f = log ? Math.log10 : (v) => v;
  return (value) => start + ((f(value) - f(from)) / (f(to) - f(from) || 1)) * (end - start);
}
