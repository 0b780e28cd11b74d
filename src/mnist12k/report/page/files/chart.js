// Charts: SVG at the available width; where there is a slider below, it selects the values shown.

const svgNames = "http://www.w3.org/2000/svg";
const chartMargin = { top: 28, right: 18, bottom: 42, left: 58 }; // as in charts.css

function svg(name, attributes, text) {
  const element = document.createElementNS(svgNames, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  return element;
}

function lineColour(number, count) {
  return `color-mix(in oklab, var(--line-1), var(--line-2) ${count > 1 ? (100 * number) / (count - 1) : 0}%)`;
}

// spec: {label, x: {name, values, log}, y: {name, log, floor, show, tick}, series: [{name, values, points,
// hollow}], bands: [{from, to, name}], marks, start, onMove, onPick, still}. The values of x are evenly
// spaced on its axis; every series has one value, or null, per value of x; values below floor are drawn at
// floor. Series are lines, or points, hollow where `hollow` says so. A still chart ignores a mouse that
// hovers; onPick gets the value of x that is clicked.
function chart(holder, spec) {
  const margin = chartMargin;
  const slider = spec.onPick ? null : holder.querySelector("input");
  const readout = holder.querySelector("ul");
  const picture = holder.querySelector(".picture");
  const show = spec.y.show || brief;
  let index = spec.start || 0;
  let cursorAt = null; // where point() has put it
  let cursor = null;
  let positionX = () => 0;
  let place = () => null; // of a value on the y axis
  let height = 0;

  function draw() {
    if (slider) slider.max = spec.x.values.length - 1;
    const width = Math.max(280, picture.clientWidth);
    height = Math.min(360, Math.max(240, width * 0.5));
    const usable = (value) => value !== null && Number.isFinite(value) && (!spec.y.log || value > 0 || spec.y.floor > 0);
    const floor = spec.y.floor ?? -Infinity;
    const values = spec.series.flatMap((line) => line.values).filter(usable).map((v) => Math.max(v, floor));
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (!values.length) [low, high] = [0.1, 1];
    if (high / low < 1.05 || low === high) [low, high] = spec.y.log ? [low / 2, high * 2] : [low - 1, high + 1];
    const xs = spec.x.values;
    const bottom = height - margin.bottom;
    positionX = axis(xs[0], xs.at(-1), spec.x.log, margin.left, width - margin.right);
    const above = axis(low, high, spec.y.log, bottom, margin.top);
    const y = (value) => above(Math.max(value, floor));
    place = (value) => (usable(value) ? y(value) : null);

    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spec.label });
    for (const [number, { from, to }] of (spec.bands || []).entries())
      drawing.append(svg("rect", { class: `band band-${number}`, x: positionX(from), y: margin.top, width: positionX(to) - positionX(from), height: bottom - margin.top }));
    for (const value of ticks(low, high, spec.y.log, 6)) {
      drawing.append(svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value) }));
      drawing.append(svg("text", { x: margin.left - 8, y: y(value) + 4, "text-anchor": "end" }, spec.y.tick ? spec.y.tick(value) : tickText(value)));
    }
    for (const value of ticks(xs[0], xs.at(-1), spec.x.log, width < 500 ? 6 : 10))
      drawing.append(svg("text", { x: positionX(value), y: bottom + 18, "text-anchor": "middle" }, tickText(value)));
    for (const value of spec.marks || [])
      drawing.append(svg("line", { class: "mark-line", x1: positionX(value), x2: positionX(value), y1: bottom, y2: bottom + 6 }));
    drawing.append(svg("line", { class: "axis", x1: margin.left, x2: width - margin.right, y1: bottom, y2: bottom }));
    drawing.append(svg("text", { class: "name", x: width - margin.right, y: height - 6, "text-anchor": "end" }, spec.x.name));
    drawing.append(svg("text", { class: "name", x: 0, y: 12 }, spec.y.name));
    spec.series.forEach((line, number) => {
      const colour = lineColour(number, spec.series.length);
      if (line.points)
        line.values.forEach((value, k) => {
          if (usable(value)) drawing.append(svg("circle", { class: line.hollow?.[k] ? "point hollow" : "point", cx: positionX(xs[k]), cy: y(value), r: 3.5, style: `stroke: ${colour}; fill: ${colour}` }));
        });
      else {
        let path = "";
        line.values.forEach((value, k) => {
          if (usable(value)) path += `${path && usable(line.values[k - 1]) ? "L" : "M"}${positionX(xs[k]).toFixed(1)},${y(value).toFixed(1)}`;
        });
        drawing.append(svg("path", { d: path, style: `stroke: ${colour}` }));
      }
    });
    cursor = svg("g", { class: "cursor" });
    drawing.append(cursor);
    picture.replaceChildren(drawing);
    if (spec.onPick && cursorAt) point(...cursorAt);
    else move(index);
  }

  // The cursor at any value of x, at the height of the value with that number.
  function point(value, number) {
    cursorAt = [value, number];
    const x = positionX(value);
    cursor.replaceChildren(svg("line", { x1: x, x2: x, y1: margin.top, y2: height - margin.bottom }));
    spec.series.forEach((line, k) => {
      const at = place(line.values[number]);
      if (at !== null) cursor.append(svg("circle", { cx: x, cy: at, r: 4, style: `fill: ${lineColour(k, spec.series.length)}` }));
    });
  }

  function move(to) {
    index = Math.max(0, Math.min(spec.x.values.length - 1, to));
    const value = spec.x.values[index];
    point(value, index);
    if (slider) {
      slider.value = index;
      slider.setAttribute("aria-valuetext", `${spec.x.name} ${brief(value)}`);
    }
    if (readout) {
      const head = document.createElement("li");
      head.textContent = `${spec.x.name} ${brief(value)}`;
      readout.replaceChildren(head, ...spec.series.map((line, number) => {
        const entry = document.createElement("li");
        const swatch = document.createElement("i");
        swatch.style.background = lineColour(number, spec.series.length);
        const text = document.createElement("b");
        text.textContent = show(line.values[index]);
        entry.append(swatch, `${line.name} `, text);
        return entry;
      }));
    }
    if (spec.onMove) spec.onMove(index);
  }

  function nearest(event) {
    const x = event.clientX - picture.getBoundingClientRect().left;
    const distances = spec.x.values.map((value) => Math.abs(positionX(value) - x));
    return distances.indexOf(Math.min(...distances));
  }

  if (spec.onPick) picture.addEventListener("click", (event) => spec.onPick(spec.x.values[nearest(event)]));
  else
    picture.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse" || event.buttons || !spec.still) move(nearest(event));
    });
  slider?.addEventListener("input", () => move(Number(slider.value)));
  new ResizeObserver(draw).observe(picture);
  draw();
  return {
    move,
    point,
    get index() { return index; },
    update(changes) { Object.assign(spec, changes); draw(); },
  };
}
