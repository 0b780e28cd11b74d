// The output of every layer, map by map. A click or the keyboard selects one pixel of one map.

const layerElements = [...document.querySelectorAll("[data-layer]")];
let shown = null; // what classify() has returned for the image that is shown
let selected = null; // {layer, map, row, column}

function showMaps(result) {
  shown = result;
  layerElements.forEach((element, layer) => {
    const x = result.outputs[layer];
    const size = x.side * x.side;
    const largest = x.values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
    element.querySelectorAll("canvas").forEach((canvas, map) =>
      paintSigned(canvas, x.values.subarray(map * size, (map + 1) * size), x.side, largest));
  });
  if (selected) showProbe(selected);
}

function select(layer, map, row, column) {
  const x = shown.outputs[layer];
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  selected = { layer, map: (map + x.channels) % x.channels, row: within(row, x.side), column: within(column, x.side) };
  for (const frame of document.querySelectorAll(".map-frame.selected")) frame.classList.remove("selected");
  const frame = layerElements[layer].querySelectorAll(".map-frame")[selected.map];
  frame.classList.add("selected");
  const marker = frame.querySelector("i");
  const percent = 100 / x.side;
  Object.assign(marker.style, { left: `${selected.column * percent}%`, top: `${selected.row * percent}%`, width: `${percent}%`, height: `${percent}%` });
  showProbe(selected);
}

const moves = { ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], PageUp: [-1, 0, 0], PageDown: [1, 0, 0] };
layerElements.forEach((element, layer) => {
  element.addEventListener("click", (event) => {
    const canvas = event.target.closest(".map-frame")?.querySelector("canvas");
    if (!canvas) return;
    const box = canvas.getBoundingClientRect();
    const { side } = shown.outputs[layer];
    const map = [...element.querySelectorAll("canvas")].indexOf(canvas);
    select(layer, map, Math.floor(((event.clientY - box.top) / box.height) * side), Math.floor(((event.clientX - box.left) / box.width) * side));
  });
  element.addEventListener("keydown", (event) => {
    if (!(event.key in moves)) return;
    event.preventDefault();
    const { side } = shown.outputs[layer];
    const from = selected?.layer === layer ? selected : { map: 0, row: side >> 1, column: side >> 1 };
    const [map, row, column] = selected?.layer === layer ? moves[event.key] : [0, 0, 0];
    select(layer, from.map + map, from.row + row, from.column + column);
  });
});
