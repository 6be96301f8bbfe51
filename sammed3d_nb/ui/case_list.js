// The worklist over the views: search, filter, sort, open. Only the rows that are seen are elements, so that thousands
// cost what a screenful does; pictures are asked for once a row has stayed in sight.

const ROW = 52; // CSS pixels, as in case_list.css
const SPARE = 6; // rows beyond those in sight
const REST_MS = 120;
const MOST_PICTURES = 600;
const COLUMNS = [
  // [field, heading, how two rows compare]
  ["name", "Case", (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })],
  ["modality", "Modality", (a, b) => a.modality.localeCompare(b.modality)],
  ["size", "Size", (a, b) => a.voxels - b.voxels],
  ["state", "State", (a, b) => a.rank - b.rank],
  ["who", "Who", (a, b) => a.who.localeCompare(b.who)],
  ["minutes", "Minutes", (a, b) => a.seconds - b.seconds],
  ["notes", "Notes", (a, b) => a.notes.localeCompare(b.notes)],
];
const FILTERS = [
  ["all", "All", () => true],
  ["todo", "To do", (row) => row.todo],
  ["mine", "Mine", (row) => row.mine],
  ["new", "New", (row) => row.state === "new"],
  ["in progress", "In progress", (row) => row.state === "in progress"],
  ["needs review", "Needs review", (row) => row.state === "needs review"],
  ["rejected", "Rejected", (row) => row.state === "rejected"],
  ["done", "Done", (row) => row.state === "done"],
];

function made(tag, classes, fields = {}) {
  const element = Object.assign(document.createElement(tag), fields);
  element.className = classes;
  return element;
}

function render({ model, el }) {
  el.classList.add("snb-cases");
  el.setAttribute("role", "dialog");
  el.setAttribute("aria-label", "Worklist");
  let rows = [];
  let listed = [];
  let chosen = -1; // number of the case that Enter opens
  let filter = "all";
  let order = { column: null, down: false };
  const pictures = new Map(); // number → address, "" where there is none
  const elements = new Map(); // number → element
  let rest = null;

  const head = made("div", "snb-cases-head");
  const search = made("input", "snb-cases-search", { type: "text", placeholder: "Search", spellcheck: false });
  search.setAttribute("aria-label", "Search the worklist");
  const progress = made("div", "snb-progress");
  const bar = made("div", "snb-progress-bar");
  const told = made("span", "snb-progress-text");
  progress.append(bar, told);
  const close = made("button", "jupyter-button", { type: "button", textContent: "✕", title: "Close (Esc)" });
  const filters = made("div", "snb-cases-filters");
  const buttons = new Map();
  for (const [name, text] of FILTERS) {
    const button = made("button", "jupyter-button", { type: "button", textContent: text });
    button.addEventListener("click", () => {
      filter = name;
      list();
      search.focus();
    });
    buttons.set(name, button);
    filters.append(button);
  }
  head.append(search, progress, close);
  const heading = made("div", "snb-cases-row snb-cases-heading");
  heading.append(made("span", "snb-c-picture"));
  const heads = new Map();
  for (const [field, text] of COLUMNS) {
    const button = made("button", `snb-c-${field}`, { type: "button", textContent: text });
    button.addEventListener("click", () => {
      order = { column: field, down: order.column === field && !order.down };
      list();
      search.focus();
    });
    heads.set(field, button);
    heading.append(button);
  }
  const scroller = made("div", "snb-cases-scroller");
  const inside = made("div", "snb-cases-inside");
  inside.setAttribute("role", "listbox");
  const nothing = made("div", "snb-cases-nothing", { textContent: "No case is like that." });
  scroller.append(inside, nothing);
  el.append(head, filters, heading, scroller);

  const open = (number) => model.send({ do: "open", number });

  function makeRow(row) {
    const element = made("div", "snb-cases-row");
    element.setAttribute("role", "option");
    const picture = made("img", "snb-c-picture", { alt: "" });
    const cells = Object.fromEntries(COLUMNS.map(([field]) => [field, made("span", `snb-c-${field}`)]));
    const state = made("span", "snb-state");
    cells.state.append(state);
    const held = made("span", "snb-held");
    element.append(picture, ...Object.values(cells));
    element.addEventListener("click", () => open(row.number));
    const update = (row) => {
      element.id = `snb-case-${row.number}`;
      cells.name.textContent = row.name;
      cells.name.title = row.details ? `${row.name}\n${row.details}` : row.name;
      cells.modality.textContent = row.modality;
      cells.size.textContent = row.size;
      state.textContent = row.state;
      state.dataset.state = row.state;
      cells.who.replaceChildren(row.who);
      if (row.held) {
        held.textContent = row.held;
        held.title = row.held;
        cells.who.append(held);
      }
      cells.minutes.textContent = row.seconds ? (row.seconds / 60).toFixed(1) : "";
      cells.notes.textContent = row.notes;
      cells.notes.title = row.notes;
      element.classList.toggle("snb-shown", row.number === model.get("shown"));
      element.classList.toggle("snb-chosen", row.number === chosen);
      element.setAttribute("aria-selected", String(row.number === chosen));
      const address = pictures.get(row.number);
      picture.style.visibility = address ? "" : "hidden";
      if (address && picture.src !== address) picture.src = address;
    };
    return { element, update };
  }

  function paint() {
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW) - SPARE);
    const last = Math.min(listed.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW) + SPARE);
    const seen = new Set(listed.slice(first, last).map((row) => row.number));
    for (const [number, { element }] of elements) {
      if (seen.has(number)) continue;
      element.remove();
      elements.delete(number);
    }
    for (let place = first; place < last; place++) {
      const row = listed[place];
      if (!elements.has(row.number)) {
        elements.set(row.number, makeRow(row));
        inside.append(elements.get(row.number).element);
      }
      const { element, update } = elements.get(row.number);
      element.style.transform = `translateY(${place * ROW}px)`;
      update(row);
    }
    search.setAttribute("aria-activedescendant", `snb-case-${chosen}`);
    clearTimeout(rest);
    rest = setTimeout(() => {
      const wanted = [...seen].filter((number) => !pictures.has(number));
      if (wanted.length && el.offsetParent !== null) model.send({ do: "pictures", numbers: wanted });
    }, REST_MS);
  }

  function list() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const like = rows.filter((row) => words.every((word) => row.text.includes(word)));
    const tests = Object.fromEntries(FILTERS.map(([name, , test]) => [name, test]));
    listed = like.filter(tests[filter]);
    if (order.column) {
      const compare = COLUMNS.find(([field]) => field === order.column)[2];
      listed.sort((a, b) => (order.down ? compare(b, a) : compare(a, b)) || a.number - b.number);
    }
    for (const [name, text, test] of FILTERS) {
      const button = buttons.get(name);
      const count = like.filter(test).length;
      button.textContent = `${text} ${count}`;
      button.classList.toggle("mod-active", name === filter);
      button.setAttribute("aria-pressed", String(name === filter));
      button.style.display = count || ["all", "todo", filter].includes(name) ? "" : "none";
    }
    for (const [field, button] of heads) {
      button.dataset.order = order.column === field ? (order.down ? "down" : "up") : "";
    }
    if (!listed.some((row) => row.number === chosen)) chosen = listed.length ? listed[0].number : -1;
    nothing.style.display = rows.length && !listed.length ? "" : "none";
    inside.style.height = `${listed.length * ROW}px`;
    model.send({ do: "order", numbers: listed.map((row) => row.number) });
    paint();
  }

  function follow() {
    const place = listed.findIndex((row) => row.number === chosen);
    if (place < 0) return;
    const room = scroller.clientHeight;
    if (place * ROW < scroller.scrollTop) scroller.scrollTop = place * ROW;
    if ((place + 1) * ROW > scroller.scrollTop + room) scroller.scrollTop = (place + 1) * ROW - room;
  }

  function step(by) {
    const place = listed.findIndex((row) => row.number === chosen);
    const next = Math.min(Math.max(place + by, 0), listed.length - 1);
    chosen = listed[next]?.number ?? -1;
    follow();
    paint();
  }

  search.addEventListener("input", list);
  search.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(scroller.clientHeight / ROW) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page }[event.key];
    if (by) step(by);
    else if (event.key === "Enter" && chosen >= 0) open(chosen);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  scroller.addEventListener("scroll", paint, { passive: true });
  close.addEventListener("click", () => model.send({ do: "close" }));

  const finished = (row) => ({
    ...row,
    text: [row.name, row.modality, row.size, row.state, row.who, row.notes, row.details].join(" ").toLowerCase(),
  });
  const onMessage = (message, buffers) => {
    if (message.type === "rows") {
      if (message.all) rows = [];
      for (const row of message.rows) rows[row.number] = finished(row);
      bar.style.width = `${(100 * message.done) / Math.max(rows.length, 1)}%`;
      told.textContent = `${message.done} of ${rows.length} done`;
      list();
    } else if (message.type === "picture") {
      if (pictures.size >= MOST_PICTURES) {
        const [oldest, address] = pictures.entries().next().value;
        if (address) URL.revokeObjectURL(address);
        pictures.delete(oldest);
      }
      const bytes = buffers?.[0];
      const address = bytes?.byteLength ? URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" })) : "";
      pictures.set(message.number, address);
      const row = rows[message.number];
      if (!row) return;
      if (!row.modality && message.modality) rows[message.number] = Object.assign(row, finished({ ...row, modality: message.modality }));
      elements.get(message.number)?.update(row);
    } else if (message.type === "opened") {
      chosen = model.get("shown") >= 0 ? model.get("shown") : chosen;
      requestAnimationFrame(() => {
        search.focus();
        search.select();
        if (!listed.some((row) => row.number === chosen)) chosen = listed[0]?.number ?? -1;
        follow();
        paint();
      });
    }
  };
  const resized = new ResizeObserver(paint);
  resized.observe(scroller);
  model.on("msg:custom", onMessage);
  model.on("change:shown", paint);
  model.send({ do: "ready" });
  return () => {
    clearTimeout(rest);
    resized.disconnect();
    for (const address of pictures.values()) if (address) URL.revokeObjectURL(address);
    model.off("msg:custom", onMessage);
    model.off("change:shown", paint);
  };
}

export default { render };
