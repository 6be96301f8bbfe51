// Whether the kernel answers; what is said, and what way back is offered, when it does not.

const PING_MS = 3000;
const LOST_MS = 8000;
const PROBE_MS = 4000;
const ASK_MS = 100; // after a click or key: else one that was answered would be said to wait

function within(promise, ms) {
  return Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error("too late")), ms))]);
}

// "away": the server is not reached; "shut": it wants another token; "gone": there is no such kernel any more, or it
// was started anew and knows no app; "busy": the last it said was that it works; "silent": it was idle.
async function diagnose(kernel, ident) {
  if (!kernel) return "silent";
  const { baseUrl, token } = kernel.serverSettings;
  try {
    const answer = await fetch(`${baseUrl}api/kernels/${kernel.id}`, {
      cache: "no-store",
      credentials: "same-origin",
      headers: token ? { Authorization: `token ${token}` } : {},
      signal: AbortSignal.timeout(PROBE_MS),
    });
    if (answer.status === 404 || answer.status === 410) return "gone";
    if (answer.redirected || answer.status === 401 || answer.status === 403) return "shut";
    if (answer.status >= 500) return "away";
  } catch {
    return "away";
  }
  if (kernel.status === "dead") return "gone";
  if (kernel.connectionStatus !== "connected") return "away";
  try {
    const reply = await within(kernel.requestCommInfo({ target_name: "jupyter.widget" }), PROBE_MS);
    return ident in (reply.content.comms ?? {}) ? "busy" : "gone";
  } catch {
    return kernel.status === "busy" ? "busy" : "silent";
  }
}

const counted = (number, one, many) => `${number} ${number === 1 ? one : many}`;

function sayings(state, { waiting, saved, inVoila }) {
  const kept = waiting
    ? `${counted(waiting, "click or key waits", "clicks and keys wait")} for it and will be sent.`
    : "What you click meanwhile is kept and sent then.";
  const lost = waiting ? `${counted(waiting, "click or key", "clicks and keys")} got no answer and must be done again.` : "";
  switch (state) {
    case "busy":
      return ["No answer from the kernel: it is busy with something else, or hangs.", `${kept} ${saved}`];
    case "silent":
      return ["No answer from the kernel.", `Asking again every few seconds. ${kept} ${saved}`];
    case "away":
      return [
        "The server is not reached.",
        `The connection (a tunnel, the network) has dropped or the server has ended. Trying again. ${kept} ${saved}`,
      ];
    case "shut":
      return [
        "The server was started anew and asks for its new token.",
        `The address with the token is where it was started. ${saved} ${lost}`,
      ];
    case "gone":
      return [
        "The kernel of this page has ended.",
        `${saved} ${lost} ${inVoila ? "A new one goes on from there." : "Run the cell that shows this app again."}`,
      ];
  }
  return ["", ""];
}

// Watches one page's kernel. `post(content)` sends what must not vanish silently: clicks are counted, keys are sent.
function watch({ model, inVoila }) {
  const kernel = model.widget_manager?.kernel ?? null;
  const page = crypto.getRandomValues(new Uint32Array(1))[0];
  const banner = document.createElement("div");
  banner.className = "snb-lost-banner";
  banner.setAttribute("role", "alert");
  banner.hidden = true;
  let heard = Date.now();
  let sent = 0; // clicks and keys
  let answered = 0; // of them, those that the last answer was asked for after
  let told = 0; // lost ones that the user knows of
  let state = "fine";
  let asking = false;
  let ended = false;
  let soon = null;

  const show = (title, text, ...buttons) => {
    banner.replaceChildren();
    for (const [tag, words] of [["strong", title], ["span", text.replace(/\s+/g, " ").trim()]]) {
      const part = document.createElement(tag);
      part.textContent = words;
      banner.append(part);
    }
    for (const [words, act] of buttons) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words;
      button.addEventListener("click", act);
      banner.append(button);
    }
    banner.hidden = false;
  };

  const reload = ["Reload the page", () => location.reload()];

  const become = (next) => {
    state = next;
    banner.dataset.state = next;
    if (next === "fine") {
      banner.hidden = true;
      return;
    }
    const [title, text] = sayings(next, { waiting: sent - answered, saved: model.get("saved"), inVoila });
    const again = ["Try again now", () => { kernel?.reconnect?.().catch(() => {}); check(true); }];
    const buttons = {
      busy: inVoila ? [reload] : [],
      silent: inVoila ? [reload] : [],
      away: [again, reload],
      shut: [reload],
      gone: inVoila ? [["Start again", () => location.reload()]] : [],
    }[next];
    show(title, text, ...buttons);
    if (next === "gone" || next === "shut") {
      ended = true; // for good: nothing is asked any more
      clearInterval(beat);
      if (inVoila) kernel?.dispose(); // else it would go on trying to reach what is gone
    }
  };

  const check = async (now = false) => {
    if (asking || ended) return;
    if (!now && Date.now() - heard < LOST_MS) return;
    asking = true;
    const asked = Date.now();
    const found = await diagnose(kernel, model.get("ident"));
    asking = false;
    if (ended) return;
    if (heard < asked || found === "gone" || found === "shut") {
      if (found === "gone" || found === "shut" || found === "away" || Date.now() - heard >= LOST_MS) become(found);
    }
  };

  const send = (content) => {
    if (ended) return;
    try {
      model.send(content);
    } catch {
      check(true); // a widget without a comm: its kernel has ended
    }
  };

  const ping = () => send({ type: "ping", page, sent });

  const onPong = (message) => {
    if (message.page !== page) return;
    heard = Date.now();
    answered = Math.max(answered, message.sent);
    const lost = message.sent - message.heard - told;
    if (ended) return;
    if (lost > 0) {
      told += lost;
      banner.dispatchEvent(new CustomEvent("snb-lost", { bubbles: true })); // the views show it no longer
      state = "fine";
      banner.dataset.state = "lost";
      show(
        "The connection is back.",
        `${counted(lost, "click or key", "clicks and keys")} got lost on the way: please do that again.`,
        ["Close", () => become("fine")],
      );
    } else if (state !== "fine") {
      become("fine");
    }
  };

  const beat = setInterval(() => {
    if (document.hidden) {
      heard = Date.now(); // timers of hidden pages are slowed down: no verdict
      return;
    }
    ping();
    check();
  }, PING_MS);

  const onStatus = (_, status) => {
    if (["dead", "autorestarting", "restarting"].includes(status)) check(true);
  };
  const onConnection = (_, status) => {
    if (status === "connected") ping();
    else check(true);
  };
  kernel?.statusChanged?.connect(onStatus);
  kernel?.connectionStatusChanged?.connect(onConnection);

  return {
    banner,
    ping,
    onPong,
    post: (content) => {
      sent += 1;
      send({ ...content, page });
      soon ??= setTimeout(() => { soon = null; ping(); }, ASK_MS);
      if (state !== "fine") become(state); // the number of those that wait has changed
    },
    stop: () => {
      clearInterval(beat);
      clearTimeout(soon);
      kernel?.statusChanged?.disconnect(onStatus);
      kernel?.connectionStatusChanged?.disconnect(onConnection);
    },
  };
}
