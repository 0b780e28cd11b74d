// The numbers of one iteration, everywhere they are shown, and the diagram's edges.

function showIteration(index) {
  const n = trajectory[index];
  for (const element of document.querySelectorAll("[data-number]"))
    element.textContent = bracketed(n[element.dataset.number]);
  for (const element of document.querySelectorAll("[data-value]"))
    element.textContent = brief(n[element.dataset.value], Number(element.dataset.digits || 10));
  for (const element of document.querySelectorAll("[data-bias]")) element.hidden = n[element.dataset.bias] === 0;
  const slopes = state.weights.map((_, k) => n[`dE_dw${k + 1}`]);
  const largest = Math.max(...slopes.map(Math.abs)) || 1;
  document.querySelectorAll("#drawing .edge").forEach((edge, k) => {
    edge.style.setProperty("--width", (1 + (4 * Math.abs(slopes[k])) / largest).toFixed(2));
    edge.classList.remove("up", "down", "still");
    edge.classList.add(slopes[k] === 0 ? "still" : slopes[k] > 0 ? "down" : "up");
  });
  document.querySelectorAll(".iteration").forEach((element) => { element.textContent = index; });
}
