for (const map of document.querySelectorAll(".map")) {
  const stack = map.querySelector(".stack");
  const layers = [...map.querySelectorAll(".layer")];
  const range = map.querySelector("input[type=range]");
  const uncover = () => stack.style.setProperty("--cut", range.value + "%");
  range.addEventListener("input", uncover);
  for (const choice of map.querySelectorAll("input[type=radio]")) {
    choice.addEventListener("change", () => layers.forEach((layer, index) => { layer.hidden = index !== Number(choice.value); }));
  }
  const follow = (event) => {
    const box = stack.getBoundingClientRect();
    range.value = Math.round(100 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    uncover();
  };
  stack.addEventListener("pointerdown", (event) => { stack.setPointerCapture(event.pointerId); follow(event); });
  stack.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  uncover();
}
