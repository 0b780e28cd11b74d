// On paper everything is open; afterwards it is as it was.

let openedForPrint = [];
window.addEventListener("beforeprint", () => {
  openedForPrint = [...document.querySelectorAll("details:not([open])")];
  for (const element of openedForPrint) element.open = true;
});
window.addEventListener("afterprint", () => {
  for (const element of openedForPrint) element.open = false;
});
