// From strokes to the network's input, as MNIST's images were made: the digit's longer side fills 20 of 28
// pixels, its centre of mass is in the middle. The strokes are scaled before they are drawn, so that the pen
// is as wide in the image whatever the size of the drawing.

const PEN = 2.5; // pixels of 28: the mean of MNIST's strokes, twice their area by their outline
const EDGE = 1.2; // pixels over which the ink fades
const FRAME = 28;
const DOT = 12; // units of the pad: what is smaller is a dot, and is not enlarged to fill the frame

function scaled(strokes, factor, shiftX, shiftY) {
  return strokes.map((stroke) => stroke.map(({ x, y }) => ({ x: x * factor + shiftX, y: y * factor + shiftY })));
}

// The box's middle at the middle of the frame, before the mass is centred.
function fitted(strokes) {
  const points = strokes.flat();
  const [left, right] = [Math.min(...points.map(({ x }) => x)), Math.max(...points.map(({ x }) => x))];
  const [top, bottom] = [Math.min(...points.map(({ y }) => y)), Math.max(...points.map(({ y }) => y))];
  const factor = (20 - PEN - EDGE) / Math.max(right - left, bottom - top, DOT);
  return scaled(strokes, factor, FRAME / 2 - (factor * (left + right)) / 2, FRAME / 2 - (factor * (top + bottom)) / 2);
}

function distanceToSegment(x, y, a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = dx * dx + dy * dy;
  const along = length ? Math.max(0, Math.min(1, ((x - a.x) * dx + (y - a.y) * dy) / length)) : 0;
  return Math.hypot(x - a.x - along * dx, y - a.y - along * dy);
}

// Levels from 0 to 1 of 28 x 28 pixels; pixel (row, column) has its middle at (column + 0.5, row + 0.5).
function ink(strokes) {
  const levels = new Float32Array(FRAME * FRAME);
  const reach = (PEN + EDGE) / 2;
  for (const stroke of strokes)
    stroke.forEach((b, k) => {
      const a = stroke[Math.max(0, k - 1)];
      const within = (value) => Math.max(0, Math.min(FRAME - 1, Math.floor(value)));
      for (let row = within(Math.min(a.y, b.y) - reach); row <= within(Math.max(a.y, b.y) + reach); row++)
        for (let column = within(Math.min(a.x, b.x) - reach); column <= within(Math.max(a.x, b.x) + reach); column++) {
          const level = (reach - distanceToSegment(column + 0.5, row + 0.5, a, b)) / EDGE;
          const k = row * FRAME + column;
          levels[k] = Math.max(levels[k], Math.min(1, level));
        }
    });
  return levels;
}

// The input for a drawing, 28 x 28 grey levels; null without strokes. Strokes are lists of {x, y}.
function normalised(strokes) {
  if (!strokes.length) return null;
  const inFrame = fitted(strokes);
  let [mass, massX, massY] = [0, 0, 0];
  ink(inFrame).forEach((level, k) => {
    mass += level;
    massX += level * ((k % FRAME) + 0.5);
    massY += level * (Math.floor(k / FRAME) + 0.5);
  });
  // MNIST's centre of mass is pixel (14, 14), to the nearest pixel; its middle is (14.5, 14.5).
  const [shiftX, shiftY] = [massX, massY].map((sum) => Math.round(FRAME / 2 + 0.5 - sum / mass));
  return Uint8Array.from(ink(scaled(inFrame, 1, shiftX, shiftY)), (level) => Math.round(255 * level));
}

// A test image with strokes over it; `erases` says which strokes take ink away.
function overlaid(pixels, strokes, erases, side) {
  const result = Float32Array.from(pixels, (p) => p / 255);
  strokes.forEach((stroke, number) => {
    ink(scaled([stroke], FRAME / side, 0, 0)).forEach((level, k) => {
      result[k] = erases[number] ? Math.min(result[k], 1 - level) : Math.max(result[k], level);
    });
  });
  return Uint8Array.from(result, (level) => Math.round(255 * level));
}
