// Numbers as text, and text as numbers.

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

// A number within a formula.
function bracketed(value) {
  const text = brief(value, 6);
  return value < 0 || text.includes("·") ? `(${text})` : text;
}

// A probability; what is not quite 0 or 1 does not look as if it were.
function asPercent(fraction) {
  if (fraction > 0 && fraction < 0.0005) return "< 0.1 %";
  if (fraction < 1 && fraction >= 0.9995) return "> 99.9 %";
  return `${(100 * fraction).toFixed(1)} %`;
}

// Returns {value} or {problem}. A comma may be the decimal separator.
function parseNumber(text, low, high) {
  const plain = text.trim().replace("−", "-");
  if (/^[+-]?[1-9]\d{0,2}(,\d{3})+$/.test(plain))
    return { problem: "has a comma that may separate thousands or decimals; write it with a point or without" };
  const standard = plain.replace(/^([^.,]*),([^.,]*)$/, "$1.$2");
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(standard)) return { problem: plain ? "is not a number" : "is empty" };
  const value = Number(standard);
  if (value < low || value > high || !Number.isFinite(value))
    return { problem: `should be between ${low.toLocaleString("en")} and ${high.toLocaleString("en")}` };
  return { value };
}
