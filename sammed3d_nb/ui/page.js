// The few things that only the page can do: keys for the whole app, its size, the clipboard, downloads, and noticing
// that the kernel no longer answers. Everything else happens in the kernel.

const PING_MS = 3000;
const LOST_MS = 9000;

function keyName(event) {
  const key = event.key.toLowerCase();
  const shift = event.shiftKey && (key.length > 1 || key !== key.toUpperCase()) ? "shift+" : "";
  return (event.ctrlKey || event.metaKey ? "ctrl+" : "") + (event.altKey ? "alt+" : "") + shift + key;
}

function takesText(target) {
  return target.matches("input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable=true]");
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // pages over plain http from another machine have no clipboard API
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

function download(name, bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function render({ model, el }) {
  const abort = new AbortController();
  const { signal } = abort;
  const inVoila = document.body.dataset.voila !== undefined;
  const keys = new Set(model.get("hotkeys"));
  const banner = document.createElement("div");
  banner.className = "snb-lost-banner";
  banner.setAttribute("role", "alert");
  banner.textContent = "No answer from the kernel. Trying again; your clicks are kept and will be sent.";
  el.append(banner);
  let root = null;
  let resize = null;

  const onKey = (event) => {
    if (event.type === "keydown" && !takesText(event.target) && keys.has(keyName(event))) {
      event.preventDefault();
      model.send({ type: "key", key: keyName(event) });
    } else if (!event.target.closest("canvas, .jupyter-matplotlib")) {
      return;
    }
    event.stopPropagation(); // else ipympl would swallow every key, the browser's own too
  };

  const measure = () => {
    const panel = root.closest(".jp-NotebookPanel-notebook, .jp-Notebook");
    const height = inVoila ? window.innerHeight : (panel?.clientHeight ?? window.innerHeight) - 24;
    const size = [Math.floor(root.clientWidth), Math.floor(height)];
    if (size[0] > 0 && String(size) !== String(model.get("size"))) {
      model.set("size", size);
      model.save_changes();
    }
  };

  const attach = () => {
    root = el.closest(".sammed3d-app");
    if (root === null) {
      requestAnimationFrame(attach);
      return;
    }
    root.tabIndex = -1;
    root.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes d d for "delete this cell"
    const ear = inVoila ? document : root;
    for (const type of ["keydown", "keyup"]) ear.addEventListener(type, onKey, { capture: true, signal });
    root.addEventListener("pointerdown", (event) => {
      if (!takesText(event.target)) root.focus({ preventScroll: true });
    }, { signal });
    root.addEventListener("click", async (event) => {
      if (!event.target.closest(".snb-copy")) return;
      await toClipboard(model.get("clipboard"));
      model.send({ type: "copied" });
    }, { signal });
    resize = new ResizeObserver(() => {
      clearTimeout(resize.timer);
      resize.timer = setTimeout(measure, 120);
    });
    resize.observe(root);
    window.addEventListener("resize", () => measure(), { signal });
    window.addEventListener("pagehide", (event) => {
      if (inVoila && !event.persisted) model.send({ type: "left" }); // each page has a kernel of its own
    }, { signal });
    measure();
  };

  let heard = Date.now();
  const onMessage = (message, buffers) => {
    heard = Date.now();
    root?.classList.remove("snb-lost");
    if (message.type === "download") download(message.name, buffers[0]);
  };
  model.on("msg:custom", onMessage);
  const beat = setInterval(() => {
    if (document.hidden) {
      heard = Date.now(); // timers of hidden pages are slowed down: no verdict
      return;
    }
    model.send({ type: "ping" });
    if (Date.now() - heard > LOST_MS) root?.classList.add("snb-lost");
  }, PING_MS);

  attach();
  return () => {
    abort.abort();
    clearInterval(beat);
    resize?.disconnect();
    model.off("msg:custom", onMessage);
  };
}

export default { render };
