// A file of the user's for the kernel, piece by piece as it asks for them: so that no message is too large for a
// server on the way, and nothing piles up.

const PIECE = 2 ** 20;

function render({ model, el }) {
  const input = Object.assign(document.createElement("input"), { type: "file", hidden: true, tabIndex: -1 });
  let chosen = null; // { file, ask }
  let count = 0;
  const buttons = model.get("buttons").map(([how, text, title]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text, title });
    button.className = `jupyter-button snb-open-${how}`;
    button.addEventListener("click", () => {
      input.dataset.how = how;
      input.value = ""; // the same file may be chosen again
      input.click();
    });
    return button;
  });
  input.addEventListener("change", () => {
    const file = input.files[0];
    if (file === undefined) return;
    chosen = { file, ask: `${Math.random()} ${++count}` };
    model.send({ do: "file", ask: chosen.ask, how: input.dataset.how, name: file.name, size: file.size });
  });
  const answer = async (content) => {
    if (content.want === undefined || content.ask !== chosen?.ask) return; // of another page, or given up
    const { file, ask } = chosen;
    try {
      const piece = await file.slice(content.want, content.want + PIECE).arrayBuffer();
      model.send({ do: "piece", ask, at: content.want }, undefined, [piece]);
    } catch (error) {
      model.send({ do: "unreadable", ask, why: String(error.message ?? error) });
    }
  };
  model.on("msg:custom", answer);
  el.classList.add("snb-upload");
  el.append(...buttons, input);
  return () => model.off("msg:custom", answer);
}

export default { render };
