// The list of objects. One element for each object, kept while the object lives; only what differs is touched.

const STATES = [
  // [class, field, what it asks for, what it is called while on, while off]
  ["snb-eye", "visible", "show", "Visible", "Hidden"],
  ["snb-lock", "locked", "lock", "Locked: later objects never overwrite it", "Lock: later objects never overwrite it"],
  ["snb-share", "shares", "share", "Shares: it may overlap objects that are not locked",
    "Share: from the next prompt on it may overlap objects that are not locked"],
];

function made(tag, classes, fields = {}) {
  const element = Object.assign(document.createElement(tag), fields);
  element.className = classes;
  return element;
}

function makeRow(key, ask) {
  const row = made("div", "snb-object");
  row.setAttribute("role", "listitem");
  const pick = made("button", "snb-pick", { type: "button" });
  const swatch = made("input", "snb-swatch", { type: "color" });
  const title = made("input", "snb-title", { type: "text", maxLength: 200, spellcheck: false });
  const amount = made("span", "snb-ml");
  const states = STATES.map(([name]) => made("button", `jupyter-button ${name}`, { type: "button" }));
  const remove = made("button", "jupyter-button snb-remove", { type: "button", textContent: "✕" });
  row.append(pick, swatch, title, amount, ...states, remove);
  let shown = {};

  const back = () => row.closest(".sammed3d-app")?.focus({ preventScroll: true });
  row.addEventListener("click", (event) => {
    const elsewhere = event.target.closest("button:not(.snb-pick), .snb-swatch");
    if (!shown.current && !elsewhere) ask("select", key);
  });
  title.addEventListener("keydown", (event) => {
    if (event.key === "Escape") title.value = shown.name; // before the focus goes, so that nothing is renamed
    if (event.key === "Escape" || event.key === "Enter") {
      event.preventDefault();
      event.stopPropagation();
      back();
    }
  });
  title.addEventListener("blur", () => {
    const wanted = title.value;
    title.value = shown.name; // a name that is refused stands nowhere
    if (wanted !== shown.name) ask("rename", key, wanted);
  });
  swatch.addEventListener("change", () => ask("recolour", key, swatch.value));
  STATES.forEach(([, field, what], n) => states[n].addEventListener("click", () => ask(what, key, !shown[field])));
  remove.addEventListener("click", () => ask("remove", key));

  const update = (item) => {
    const before = shown;
    shown = item;
    if (before.name !== item.name) {
      if (document.activeElement !== title) title.value = item.name;
      title.title = item.name; // it may be cut
      title.setAttribute("aria-label", `Name of ${item.name}`);
      swatch.title = `Colour of ${item.name}`;
      swatch.setAttribute("aria-label", swatch.title);
      remove.title = `Remove ${item.name}`;
      remove.setAttribute("aria-label", remove.title);
    }
    if (before.name !== item.name || before.current !== item.current) {
      row.classList.toggle("snb-current", item.current);
      title.tabIndex = item.current ? 0 : -1;
      title.readOnly = Boolean(item.fixed); // a label set says what it is called
      pick.title = item.current ? `${item.name} takes the clicks` : `Click for ${item.name}`;
      pick.setAttribute("aria-label", pick.title);
      pick.setAttribute("aria-pressed", String(item.current));
    }
    if (before.colour !== item.colour) swatch.value = item.colour;
    if (before.amount !== item.amount) amount.textContent = item.amount;
    STATES.forEach(([, field, , on, off], n) => {
      if (before[field] === item[field] && before.name === item.name) return;
      states[n].classList.toggle("mod-active", item[field]);
      states[n].setAttribute("aria-pressed", String(item[field]));
      states[n].title = item[field] ? on : off;
      states[n].setAttribute("aria-label", `${item.name}: ${states[n].title}`);
    });
  };
  return { row, update };
}

function render({ model, el }) {
  el.classList.add("snb-objects");
  el.setAttribute("role", "list");
  el.setAttribute("aria-label", "Objects");
  const rows = new Map();
  const ask = (what, key, value = null) => model.send({ do: what, key, value });

  const show = () => {
    const items = model.get("rows");
    const keys = new Set(items.map((item) => item.key));
    for (const [key, { row }] of rows) {
      if (!keys.has(key)) {
        row.remove();
        rows.delete(key);
      }
    }
    let current = null;
    items.forEach((item, place) => {
      if (!rows.has(item.key)) rows.set(item.key, makeRow(item.key, ask));
      const { row, update } = rows.get(item.key);
      update(item);
      if (el.children[place] !== row) el.insertBefore(row, el.children[place] ?? null);
      if (item.current) current = row;
    });
    if (current) {
      // by hand: scrollIntoView would scroll the notebook too
      const above = current.offsetTop;
      if (above < el.scrollTop) el.scrollTop = above;
      const below = above + current.offsetHeight - el.clientHeight;
      if (below > el.scrollTop) el.scrollTop = below;
    }
  };
  show();
  const resized = new ResizeObserver(show);
  resized.observe(el);
  model.on("change:rows", show);
  return () => {
    resized.disconnect();
    model.off("change:rows", show);
  };
}

export default { render };
