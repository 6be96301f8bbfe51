// The rows of the list of prompts, for `prompt_list.py`: a press on one goes to it, its cross (or Delete) takes it back.

function makeRow(key, ask) {
  const row = document.createElement("div");
  row.className = "snb-prompt";
  row.setAttribute("role", "listitem");
  const pick = document.createElement("button");
  pick.type = "button";
  pick.className = "snb-prompt-pick";
  const [sign, text, where] = ["snb-prompt-sign", "snb-prompt-text", "snb-prompt-where"].map((name) => {
    const part = document.createElement("span");
    part.className = name;
    pick.append(part);
    return part;
  });
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "jupyter-button snb-prompt-remove";
  remove.textContent = "✕";
  row.append(pick, remove);
  pick.addEventListener("click", () => ask("choose", key));
  remove.addEventListener("click", () => ask("remove", key));
  row.addEventListener("keydown", (event) => {
    if (event.key !== "Delete") return;
    event.preventDefault();
    event.stopPropagation();
    ask("remove", key);
  });
  const update = (item) => {
    const said = item.positive ? "positive" : "negative";
    sign.textContent = item.positive ? "+" : "−";
    text.textContent = item.text;
    where.textContent = item.where;
    where.title = "Voxels count from 0, as under the mouse; slices from 1, as on the views";
    row.dataset.sign = said;
    row.classList.toggle("snb-chosen", item.chosen);
    pick.setAttribute("aria-pressed", String(item.chosen));
    pick.title = item.chosen ? "Shown on the views; press again to end that" : "Go there and show it on the views";
    pick.setAttribute("aria-label", `${item.text}, ${said}, ${item.where}`);
    remove.title = `Take back ${item.text.toLowerCase()} alone (Delete)`;
    remove.setAttribute("aria-label", remove.title);
  };
  return { row, update };
}

function render({ model, el }) {
  el.classList.add("snb-prompts");
  el.setAttribute("role", "list");
  el.setAttribute("aria-label", "Prompts of the current object");
  const rows = new Map();
  const ask = (what, key) => model.send({ do: what, key });
  const show = () => {
    const items = model.get("rows");
    const keys = new Set(items.map((item) => item.key));
    const longer = items.some((item) => !rows.has(item.key));
    for (const [key, { row }] of rows) {
      if (keys.has(key)) continue;
      const focused = row.contains(document.activeElement);
      row.remove();
      rows.delete(key);
      if (focused) el.closest(".sammed3d-app")?.focus({ preventScroll: true });
    }
    items.forEach((item, place) => {
      if (!rows.has(item.key)) rows.set(item.key, makeRow(item.key, ask));
      const { row, update } = rows.get(item.key);
      update(item);
      if (el.children[place] !== row) el.insertBefore(row, el.children[place] ?? null);
    });
    if (longer) el.scrollTop = el.scrollHeight; // the newest is in view
  };
  show();
  model.on("change:rows", show);
  return () => model.off("change:rows", show);
}

export default { render };
