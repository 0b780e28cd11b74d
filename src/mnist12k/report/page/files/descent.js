// The 2-2-2 network in float64, with the operations of mnist12k/backprop/network.py in their order.

const study = data.backprop;

function sigmoid(x) {
  const e = Math.exp(-Math.abs(x));
  return (x >= 0 ? 1 : e) / (1 + e);
}

// Every number of one iteration by its name in the derivation; new_w1 to new_w8 are the updated weights.
// small: {inputs, targets, biases}.
function iteration(small, w, rate) {
  const n = { η: rate };
  [n.i1, n.i2] = small.inputs;
  [n.t1, n.t2] = small.targets;
  [n.b1, n.b2] = small.biases;
  w.forEach((weight, k) => { n[`w${k + 1}`] = weight; });
  n.h1 = n.w1 * n.i1 + n.w2 * n.i2 + n.b1;
  n.h2 = n.w3 * n.i1 + n.w4 * n.i2 + n.b1;
  n.a_h1 = sigmoid(n.h1);
  n.a_h2 = sigmoid(n.h2);
  n.o1 = n.w5 * n.a_h1 + n.w6 * n.a_h2 + n.b2;
  n.o2 = n.w7 * n.a_h1 + n.w8 * n.a_h2 + n.b2;
  n.a_o1 = sigmoid(n.o1);
  n.a_o2 = sigmoid(n.o2);
  n.E1 = (n.t1 - n.a_o1) ** 2 / 2;
  n.E2 = (n.t2 - n.a_o2) ** 2 / 2;
  n.E_total = n.E1 + n.E2;

  n.dE1_da_o1 = n.a_o1 - n.t1;
  n.da_o1_do1 = n.a_o1 * (1 - n.a_o1);
  n.do1_dw5 = n.a_h1;
  const dE_do1 = n.dE1_da_o1 * n.da_o1_do1;
  const dE_do2 = (n.a_o2 - n.t2) * n.a_o2 * (1 - n.a_o2);
  n.dE_dw5 = dE_do1 * n.a_h1;
  n.dE_dw6 = dE_do1 * n.a_h2;
  n.dE_dw7 = dE_do2 * n.a_h1;
  n.dE_dw8 = dE_do2 * n.a_h2;
  n.dE1_da_h1 = dE_do1 * n.w5;
  n.dE2_da_h1 = dE_do2 * n.w7;
  n.dE_da_h1 = n.dE1_da_h1 + n.dE2_da_h1;
  n.dE1_da_h2 = dE_do1 * n.w6;
  n.dE2_da_h2 = dE_do2 * n.w8;
  n.dE_da_h2 = n.dE1_da_h2 + n.dE2_da_h2;
  n.da_h1_dh1 = n.a_h1 * (1 - n.a_h1);
  n.dh1_dw1 = n.i1;
  const dE_dh1 = n.dE_da_h1 * n.a_h1 * (1 - n.a_h1);
  const dE_dh2 = n.dE_da_h2 * n.a_h2 * (1 - n.a_h2);
  n.dE_dw1 = dE_dh1 * n.i1;
  n.dE_dw2 = dE_dh1 * n.i2;
  n.dE_dw3 = dE_dh2 * n.i1;
  n.dE_dw4 = dE_dh2 * n.i2;
  w.forEach((weight, k) => { n[`new_w${k + 1}`] = weight - rate * n[`dE_dw${k + 1}`]; });
  return n;
}

function descend(small, rate, iterations) {
  const numbers = [];
  for (let w = small.weights; numbers.length <= iterations; ) {
    const n = iteration(small, w, rate);
    numbers.push(n);
    w = w.map((_, k) => n[`new_w${k + 1}`]);
  }
  return numbers;
}

function lossOf({ inputs: [i1, i2], targets: [t1, t2], biases: [b1, b2] }, [w1, w2, w3, w4, w5, w6, w7, w8]) {
  const a1 = sigmoid(w1 * i1 + w2 * i2 + b1);
  const a2 = sigmoid(w3 * i1 + w4 * i2 + b1);
  return (t1 - sigmoid(w5 * a1 + w6 * a2 + b2)) ** 2 / 2 + (t2 - sigmoid(w7 * a1 + w8 * a2 + b2)) ** 2 / 2;
}

// The first update after which the loss is below the target; null if that takes more than `patience`.
function updatesNeeded(small, rate, target, patience) {
  const [i1, i2] = small.inputs;
  const [t1, t2] = small.targets;
  const [b1, b2] = small.biases;
  let [w1, w2, w3, w4, w5, w6, w7, w8] = small.weights;
  for (let update = 0; update <= patience; update++) {
    const a1 = sigmoid(w1 * i1 + w2 * i2 + b1);
    const a2 = sigmoid(w3 * i1 + w4 * i2 + b1);
    const o1 = sigmoid(w5 * a1 + w6 * a2 + b2);
    const o2 = sigmoid(w7 * a1 + w8 * a2 + b2);
    if ((t1 - o1) ** 2 / 2 + (t2 - o2) ** 2 / 2 < target) return update;
    const d1 = (o1 - t1) * o1 * (1 - o1);
    const d2 = (o2 - t2) * o2 * (1 - o2);
    const h1 = (d1 * w5 + d2 * w7) * a1 * (1 - a1);
    const h2 = (d1 * w6 + d2 * w8) * a2 * (1 - a2);
    w1 -= rate * h1 * i1;
    w2 -= rate * h1 * i2;
    w3 -= rate * h2 * i1;
    w4 -= rate * h2 * i2;
    w5 -= rate * d1 * a1;
    w6 -= rate * d1 * a2;
    w7 -= rate * d2 * a1;
    w8 -= rate * d2 * a2;
  }
  return null;
}
