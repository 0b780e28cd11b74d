// Grey levels and maps as pictures of one pixel per value; CSS enlarges them.

function paintPixels(canvas, values, side, colourOf) {
  canvas.width = canvas.height = side;
  const image = new ImageData(side, side);
  values.forEach((value, k) => image.data.set(colourOf(value), 4 * k));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// One value per pixel, from 0 to 1: the opacity of black.
function paint(canvas, values, side) {
  paintPixels(canvas, values, side, (value) => [0, 0, 0, 255 * value]);
}

// An image as the network takes it, see classify(); without pixels an empty one.
function paintImage(canvas, pixels) {
  const { side, channels } = network;
  const size = side * side;
  canvas.classList.toggle("colour", channels > 1);
  if (channels === 1) return paint(canvas, pixels ? [...pixels].map((p) => p / 255) : new Array(size).fill(0), side);
  const colour = (k) => [...[0, 1, 2].map((channel) => pixels[channel * size + k]), 255];
  paintPixels(canvas, [...Array(size).keys()], side, pixels ? colour : () => [0, 0, 0, 0]);
}

// Blue above 0, orange below; opaque where the value is as large as `largest`.
function signed(value, largest) {
  const strength = largest ? Math.min(1, Math.abs(value) / largest) : 0;
  return value < 0 ? [214, 111, 44, 255 * strength] : [64, 135, 214, 255 * strength];
}

function paintSigned(canvas, values, side, largest) {
  paintPixels(canvas, values, side, (value) => signed(value, largest));
}
