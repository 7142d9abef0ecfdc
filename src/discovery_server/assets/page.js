"use strict";
// Follows the page's events, counts time down, and adds buttons that copy. All of it is comfort:
// without this file the page reloads itself.
(() => {
  const main = document.getElementById("main");
  const state = document.getElementById("state");
  const live = document.getElementById("live");

  // Copies the text of a block, or selects it where the browser does not let pages copy.
  const copy = async (button, code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  const addButtons = (root) => {
    for (const block of root.querySelectorAll("pre[data-copy]")) {
      const code = block.querySelector("code");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", () => copy(button, code));
      block.prepend(button);
    }
  };

  addButtons(document);
  if (!state) return;

  const span = (seconds) => {
    const days = Math.floor(seconds / 86400);
    const hours = Math.floor(seconds / 3600) % 24;
    const minutes = Math.floor(seconds / 60) % 60;
    if (days) return `${days} d ${hours} h`;
    if (hours) return `${hours} h ${minutes} min`;
    if (minutes) return `${minutes} min ${seconds % 60} s`;
    return `${seconds} s`;
  };

  // The service says how many seconds are left, so a wrong clock here does no harm.
  let until = 0;
  const startClock = () => {
    const time = state.querySelector("[data-left]");
    until = performance.now() + Number(time.dataset.left) * 1000;
  };
  setInterval(() => {
    const time = state.querySelector("[data-left]");
    const left = Math.max(0, Math.round((until - performance.now()) / 1000));
    if (time) time.textContent = span(left);
  }, 1000);
  startClock();

  const summary = () => state.querySelector("[data-summary]").dataset.summary;

  const show = (html) => {
    const before = summary();
    const open = new Map();
    for (const part of state.querySelectorAll("details[id]")) open.set(part.id, part.open);
    state.innerHTML = html;
    for (const part of state.querySelectorAll("details[id]")) {
      if (open.has(part.id)) part.open = open.get(part.id);
    }
    addButtons(state);
    startClock();
    document.title = state.querySelector("[data-title]").dataset.title;
    if (summary() !== before) live.textContent = summary();
  };

  const events = new EventSource(main.dataset.events);
  let last = "";
  events.addEventListener("state", (event) => {
    if (event.data !== last) show(event.data);
    last = event.data;
  });
  events.addEventListener("gone", () => {
    events.close();
    location.reload();
  });
  events.addEventListener("open", () => main.classList.remove("stale"));
  events.addEventListener("error", () => {
    main.classList.add("stale");
    // A refused stream is final for the browser; the page then looks again by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 30000);
  });
})();
