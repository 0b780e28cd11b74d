// The lab's state: a 2-2-2 network and a learning rate; in the URL, so that it can be sent as a link.

const limits = { i: [-1e6, 1e6], t: [0, 1], b: [-1e6, 1e6], w: [-1e6, 1e6], rate: [1e-6, 1e6] };
const parts = { i: "inputs", t: "targets", b: "biases", w: "weights" };
const presetNames = Object.keys(study.presets);
const state = { ...structuredClone(study.presets[presetNames[0]]), rate: study.rate };

// i1 is the first of the inputs, and so on.
function getValue(name) {
  return name === "rate" ? state.rate : state[parts[name[0]]][name[1] - 1];
}

function setValue(name, value) {
  if (name === "rate") state.rate = value;
  else state[parts[name[0]]][name[1] - 1] = value;
}

function limitsOf(name) {
  return limits[name === "rate" ? name : name[0]];
}

function presetOf(small) {
  return presetNames.find((name) => Object.values(parts).every((part) => String(study.presets[name][part]) === String(small[part])));
}

function stateHash(update) {
  const numbers = Object.entries(parts).map(([letter, part]) => `${letter}=${state[part].join(",")}`);
  return `#lab?${[`rate=${state.rate}`, ...numbers, `update=${update}`].join("&")}`;
}

// The state in a hash as {update, rate, inputs, ...}; null if it is none, or one number is out of range.
function readHash(hash) {
  if (!hash.startsWith("#lab?")) return null;
  const found = new URLSearchParams(hash.slice(5));
  const update = Number(found.get("update") ?? 0);
  const result = { update, rate: Number(found.get("rate") ?? study.rate) };
  for (const [letter, part] of Object.entries(parts)) {
    const first = study.presets[presetNames[0]][part];
    result[part] = found.has(letter) ? found.get(letter).split(",").map((text) => (text === "" ? NaN : Number(text))) : [...first];
    const [low, high] = limits[letter];
    if (result[part].length !== first.length || !result[part].every((value) => value >= low && value <= high)) return null;
  }
  const [low, high] = limits.rate;
  return result.rate >= low && result.rate <= high && Number.isInteger(update) && update >= 0 && update <= study.iterations ? result : null;
}
