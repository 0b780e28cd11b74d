// Line charts: SVG at the available width, with a slider that selects the values shown below it.

const svgNames = "http://www.w3.org/2000/svg";

function svg(name, attributes, text) {
  const element = document.createElementNS(svgNames, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  return element;
}

function power(exponent) {
  return "10" + [...String(exponent)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
}

// A number with so many significant digits, tiny ones with a power of ten.
function brief(value, digits = 4) {
  if (value === null) return "none";
  const rounded = Number(value.toPrecision(digits));
  if (rounded === 0 || Math.abs(rounded) >= 1e-4) return String(rounded).replace("-", "−");
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  return `${Number(mantissa)}·${power(Number(exponent))}`.replace("-", "−");
}

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

// spec: {label, x: {name, values, log}, y: {name, log, floor, show, tick}, series: [{name, values}],
// start, onMove, still}. Every series has one value, or null, per value of x; values below floor are
// drawn at floor. A still chart ignores a mouse that hovers.
function chart(holder, spec) {
  const margin = { top: 28, right: 18, bottom: 42, left: 58 };
  const slider = holder.querySelector("input");
  const readout = holder.querySelector("ul");
  const picture = holder.querySelector(".picture");
  const show = spec.y.show || brief;
  let index = 0;
  let cursor = null;
  let positionX = () => 0;
  slider.max = spec.x.values.length - 1;

  function colour(number) {
    if (spec.series.length === 1) return "var(--accent)";
    return `color-mix(in oklab, var(--accent-2), var(--accent) ${(100 * number) / (spec.series.length - 1)}%)`;
  }

  function draw() {
    const width = Math.max(280, picture.clientWidth);
    const height = Math.min(360, Math.max(240, width * 0.5));
    const usable = (value) => value !== null && Number.isFinite(value) && (!spec.y.log || value > 0 || spec.y.floor > 0);
    const floor = spec.y.floor ?? -Infinity;
    const values = spec.series.flatMap((line) => line.values).filter(usable).map((v) => Math.max(v, floor));
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (!values.length) [low, high] = [0.1, 1];
    if (high / low < 1.05 || low === high) [low, high] = spec.y.log ? [low / 2, high * 2] : [low - 1, high + 1];
    const axis = (from, to, log, start, end) => {
      const f = log ? Math.log10 : (v) => v;
      return (value) => start + ((f(value) - f(from)) / (f(to) - f(from) || 1)) * (end - start);
    };
    const xs = spec.x.values;
    positionX = axis(xs[0], xs[xs.length - 1], spec.x.log, margin.left, width - margin.right);
    const above = axis(low, high, spec.y.log, height - margin.bottom, margin.top);
    const y = (value) => above(Math.max(value, floor));

    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spec.label });
    for (const value of ticks(low, high, spec.y.log, 6)) {
      drawing.append(svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value) }));
      drawing.append(svg("text", { x: margin.left - 8, y: y(value) + 4, "text-anchor": "end" }, spec.y.tick ? spec.y.tick(value) : tickText(value)));
    }
    for (const value of ticks(xs[0], xs[xs.length - 1], spec.x.log, width < 500 ? 6 : 10))
      drawing.append(svg("text", { x: positionX(value), y: height - margin.bottom + 18, "text-anchor": "middle" }, tickText(value)));
    drawing.append(svg("line", { class: "axis", x1: margin.left, x2: width - margin.right, y1: height - margin.bottom, y2: height - margin.bottom }));
    drawing.append(svg("text", { class: "name", x: width - margin.right, y: height - 6, "text-anchor": "end" }, spec.x.name));
    drawing.append(svg("text", { class: "name", x: 0, y: 12 }, spec.y.name));
    spec.series.forEach((line, number) => {
      let path = "";
      line.values.forEach((value, k) => {
        if (usable(value)) path += `${path && usable(line.values[k - 1]) ? "L" : "M"}${positionX(xs[k]).toFixed(1)},${y(value).toFixed(1)}`;
      });
      drawing.append(svg("path", { d: path, style: `stroke: ${colour(number)}` }));
    });
    cursor = svg("g", { class: "cursor" });
    drawing.append(cursor);
    picture.replaceChildren(drawing);

    move.y = (value) => (usable(value) ? y(value) : null);
    move.height = height;
    move(index);
  }

  function move(to) {
    index = Math.max(0, Math.min(spec.x.values.length - 1, to));
    slider.value = index;
    const value = spec.x.values[index];
    slider.setAttribute("aria-valuetext", `${spec.x.name} ${brief(value)}`);
    const x = positionX(value);
    cursor.replaceChildren(svg("line", { x1: x, x2: x, y1: margin.top, y2: move.height - margin.bottom }));
    readout.replaceChildren();
    const head = document.createElement("li");
    head.textContent = `${spec.x.name} ${brief(value)}`;
    readout.append(head);
    spec.series.forEach((line, number) => {
      const lineValue = line.values[index];
      if (move.y(lineValue) !== null)
        cursor.append(svg("circle", { cx: x, cy: move.y(lineValue), r: 4, style: `fill: ${colour(number)}` }));
      const entry = document.createElement("li");
      const swatch = document.createElement("i");
      swatch.style.background = colour(number);
      const text = document.createElement("b");
      text.textContent = show(lineValue);
      entry.append(swatch, `${line.name} `, text);
      readout.append(entry);
    });
    if (spec.onMove) spec.onMove(index);
  }

  picture.addEventListener("pointermove", (event) => {
    const x = event.clientX - picture.getBoundingClientRect().left;
    let nearest = 0;
    spec.x.values.forEach((value, k) => {
      if (Math.abs(positionX(value) - x) < Math.abs(positionX(spec.x.values[nearest]) - x)) nearest = k;
    });
    if (event.pointerType === "mouse" && !event.buttons && spec.still) return;
    move(nearest);
  });
  slider.addEventListener("input", () => move(Number(slider.value)));
  new ResizeObserver(draw).observe(picture);
  index = spec.start || 0;
  draw();
  return {
    move,
    get index() { return index; },
    update(series) { spec.series = series; draw(); },
  };
}
