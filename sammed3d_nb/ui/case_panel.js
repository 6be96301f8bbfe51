// The panel of the case on the screen: its state and labels, notes, and what annotators and reviewers say of it. One
// element for each part, kept while the page lives; what the kernel says is put into them.

const PAUSE_MS = 600; // in typing, after which notes are kept

function made(tag, classes, fields = {}) {
  const element = Object.assign(document.createElement(tag), fields);
  element.className = classes;
  return element;
}

function show(element, on) {
  element.style.display = on ? "" : "none";
}

function render({ model, el }) {
  el.classList.add("snb-case-panel");
  const ask = (what, value = null) => model.send({ do: what, value });
  const button = (text, what, title, classes = "") => {
    const found = made("button", `jupyter-button ${classes}`, { type: "button", textContent: text, title });
    found.addEventListener("click", () => ask(what));
    return found;
  };

  const head = made("div", "snb-case-head");
  const name = made("span", "snb-case-name");
  const state = made("span", "snb-state");
  head.append(
    name, state,
    button("‹", "previous", "Previous case (Shift+P)", "snb-previous-case"),
    button("›", "next", "Next case (Shift+N)", "snb-next-case"),
    button("List", "list", "All cases (Shift+L)", "snb-open-list"),
  );
  const progress = made("div", "snb-progress");
  const bar = made("div", "snb-progress-bar");
  const told = made("span", "snb-progress-text");
  progress.append(bar, told);
  const banner = made("div", "snb-case-banner");
  banner.setAttribute("role", "status");
  const bannerText = made("span", "");
  const back = button("Take it back", "take_back", "Work on it again; the other session is told", "snb-take-back");
  banner.append(bannerText, back);
  const labels = made("div", "snb-labels");
  const guide = made("div", "snb-guideline");
  const notes = made("textarea", "snb-notes", { rows: 1, placeholder: "Notes on this case", maxLength: 10000 });
  notes.setAttribute("aria-label", "Notes on this case");
  const acts = made("div", "snb-case-acts");
  const done = button("Done", "done", "Mark this case as done (Shift+D)", "snb-done");
  const review = button("Needs review", "needs_review", "Ask a reviewer to look at it", "snb-needs-review");
  const second = button("Second reading", "second", "Ask for a reading by somebody else", "snb-second");
  const others = made("span", "snb-others");
  acts.append(done, review, second, others);

  const reviewing = made("div", "snb-review");
  const readings = made("div", "snb-readings");
  const scores = made("div", "snb-scores");
  const comment = made("textarea", "snb-comment", { rows: 2, placeholder: "Comment for the annotators", maxLength: 10000 });
  comment.setAttribute("aria-label", "Comment for the annotators");
  const decide = made("div", "snb-case-acts");
  const accept = made("button", "jupyter-button snb-accept", { type: "button", textContent: "Accept" });
  const reject = made("button", "jupyter-button snb-reject", { type: "button", textContent: "Reject" });
  accept.title = "The case is done as it is on the screen";
  reject.title = "Send it back to its annotators, with the comment";
  accept.addEventListener("click", () => ask("accept", comment.value));
  reject.addEventListener("click", () => ask("reject", comment.value));
  decide.append(accept, reject);
  reviewing.append(readings, scores, comment, decide);
  el.append(head, progress, banner, labels, guide, notes, acts, reviewing);

  let before = {};
  let pause = 0;
  const keep = () => {
    clearTimeout(pause);
    if (before.number === undefined || before.reviewing) return;
    if (notes.value !== (before.notes ?? "")) ask("note", { number: before.number, text: notes.value });
  };
  notes.addEventListener("blur", keep);
  notes.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(keep, PAUSE_MS);
  });
  window.addEventListener("pagehide", keep);
  for (const field of [notes, comment]) {
    field.addEventListener("input", () => {
      field.style.height = "auto";
      field.style.height = `${Math.min(field.scrollHeight + 2, 120)}px`;
    });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" && !(event.key === "Enter" && (event.ctrlKey || event.metaKey))) return;
      event.preventDefault();
      field.blur();
      field.closest(".sammed3d-app")?.focus({ preventScroll: true });
    });
  }

  const draw = () => {
    const now = model.get("shown");
    if (before.number !== now.number) keep(); // the next case arrives while notes on this one are typed
    const open = now.number !== undefined;
    name.textContent = open ? now.name : "No case is open";
    name.title = now.name ?? "";
    state.textContent = now.state ?? "";
    state.dataset.state = now.state ?? "";
    show(state, open);
    const [finished, all] = now.progress ?? [0, 0];
    bar.style.width = `${(100 * finished) / Math.max(all, 1)}%`;
    told.textContent = `${finished} of ${all} done`;
    bannerText.textContent = now.banner ?? "";
    banner.dataset.kind = now.banner_kind ?? "";
    show(banner, Boolean(now.banner));
    show(back, Boolean(now.lost));

    labels.replaceChildren(
      ...(now.labels ?? []).map((label) => {
        const chip = made("button", "jupyter-button snb-label", { type: "button", title: label.title });
        const dot = made("span", "snb-label-dot");
        dot.style.background = label.colour;
        chip.append(dot, label.name, made("span", "snb-label-mark", { textContent: label.done ? "✓" : label.required ? "•" : "" }));
        chip.classList.toggle("mod-active", label.current);
        chip.classList.toggle("snb-label-done", label.done);
        chip.setAttribute("aria-pressed", String(label.current));
        chip.setAttribute("aria-label", `${label.name}: ${label.done ? "drawn" : label.required ? "required" : "optional"}`);
        chip.addEventListener("click", () => ask("label", label.name));
        return chip;
      }),
    );
    show(labels, (now.labels ?? []).length > 0);
    guide.textContent = now.guideline ?? "";
    show(guide, Boolean(now.guideline));
    if (before.number !== now.number || (document.activeElement !== notes && before.notes !== now.notes)) {
      notes.value = now.notes ?? "";
      notes.style.height = "";
    }
    show(notes, open && !now.reviewing);
    show(acts, open && !now.reviewing);
    show(reviewing, open && Boolean(now.reviewing));
    done.classList.toggle("mod-active", now.own === "done");
    review.classList.toggle("mod-active", now.own === "needs review");
    second.classList.toggle("mod-active", Boolean(now.second));
    second.setAttribute("aria-pressed", String(Boolean(now.second)));
    show(second, !now.blind && !now.fixed);
    others.replaceChildren(
      ...(now.others ?? []).map((who) => {
        const found = made("button", "jupyter-button snb-go-on", {
          type: "button", textContent: `Go on from ${who || "earlier work"}`, title: "Begin with a copy of that work, in a record of your own",
        });
        found.addEventListener("click", () => ask("go_on", who));
        return found;
      }),
    );
    if (now.reviewing) {
      readings.replaceChildren(
        ...now.readings.map(({ who, state: how, current }) => {
          const found = made("button", "jupyter-button snb-reading", { type: "button", textContent: who || "earlier work", title: `${who}: ${how}` });
          found.classList.toggle("mod-active", current);
          found.setAttribute("aria-pressed", String(current));
          found.addEventListener("click", () => ask("reading", who));
          return found;
        }),
        ...(now.corrected ? [made("span", "snb-dim", { textContent: "corrected by you" })] : []),
      );
      if (now.readings.length > 1) {
        const both = button("Difference", "difference", "Where both readings differ, by distance", "snb-difference");
        both.classList.toggle("mod-active", Boolean(now.difference));
        both.setAttribute("aria-pressed", String(Boolean(now.difference)));
        readings.append(both);
      }
      scores.replaceChildren(
        ...(now.difference ?? []).map(([text, colour]) => {
          const line = made("span", "snb-score", { textContent: text });
          if (colour) {
            const dot = made("span", "snb-label-dot");
            dot.style.background = colour;
            line.prepend(dot);
          }
          return line;
        }),
      );
      if (before.number !== now.number) comment.value = "";
    }
    before = now;
  };
  draw();
  model.on("change:shown", draw);
  return () => {
    keep();
    window.removeEventListener("pagehide", keep);
    model.off("change:shown", draw);
  };
}

export default { render };
