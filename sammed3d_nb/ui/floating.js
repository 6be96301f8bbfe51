// The 3D panel floats: its head moves it, its button makes it large, its upper left corner resizes it.
function floating(root, signal) {
  root.addEventListener("pointerdown", (event) => {
    const head = event.target.closest(".snb-preview .snb-panel-head");
    if (head === null || event.target.closest("button") || event.button !== 0) return;
    const panel = head.closest(".snb-preview");
    if (panel.classList.contains("snb-large")) return;
    const [frame, box] = [root.getBoundingClientRect(), panel.getBoundingClientRect()];
    const held = [event.clientX - box.left, event.clientY - box.top];
    const grip = event.target.closest(".snb-grip") !== null;
    const size = (now) => {
      panel.style.inset = `auto ${frame.right - box.right}px ${frame.bottom - box.bottom}px auto`;
      panel.style.width = `${box.right - Math.max(now.clientX, frame.left)}px`;
      panel.style.height = `${box.bottom - Math.max(now.clientY, frame.top)}px`;
    };
    const shift = (now) => {
      const left = Math.min(Math.max(now.clientX - held[0] - frame.left, 0), frame.width - box.width);
      const top = Math.min(Math.max(now.clientY - held[1] - frame.top, 0), frame.height - box.height);
      panel.style.inset = `${top}px auto auto ${left}px`;
    };
    const move = grip ? size : shift;
    const end = () => {
      head.removeEventListener("pointermove", move);
      head.removeEventListener("pointerup", end);
      head.removeEventListener("pointercancel", end);
    };
    head.setPointerCapture(event.pointerId);
    head.addEventListener("pointermove", move);
    head.addEventListener("pointerup", end);
    head.addEventListener("pointercancel", end);
    event.preventDefault();
  }, { signal });
  window.addEventListener("resize", () => {
    for (const panel of root.querySelectorAll(".snb-preview")) panel.style.inset = ""; // never out of reach
  }, { signal });
  root.addEventListener("click", (event) => {
    const panel = event.target.closest(".snb-enlarge")?.closest(".snb-preview");
    panel?.classList.toggle("snb-large");
  }, { signal });
}
