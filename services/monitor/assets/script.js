// Keeps a page as it is now: asks for the same page again when something has changed, and puts its live parts in place of
// the old ones. Without this script the pages show and do the same, and are reloaded by hand.
(() => {
  "use strict";

  const body = document.body;
  const changes = body.dataset.changes;
  const every = Number(body.dataset.every || 0) * 1000;
  const status = document.getElementById("live");
  // Between two requests, however much changes.
  const pause = 1500;

  let source = null;
  let timer = null;
  let asking = false;
  let again = false;
  let askedAt = 0;
  let paused = false;

  const button = document.createElement("button");
  button.type = "button";
  const words = document.createElement("span");

  function say(state, text) {
    status.dataset.state = state;
    if (words.textContent !== text) words.textContent = text;
    button.textContent = paused ? "Resume updates" : "Pause updates";
  }

  // What somebody writes, reads or has open in a part stays as it is.
  function isBusy(part) {
    const active = document.activeElement;
    const writes = active && part.contains(active) && active.matches("input, select, textarea");
    const selection = document.getSelection();
    return writes || (selection && !selection.isCollapsed && part.contains(selection.anchorNode));
  }

  function put(part, fresh) {
    if (part.innerHTML === fresh.innerHTML || isBusy(part)) return;
    const open = new Map();
    for (const details of part.querySelectorAll("details[id]")) open.set(details.id, details.open);
    const active = document.activeElement;
    const focused = active && part.contains(active) ? [...part.querySelectorAll("a, button, summary, [tabindex]")].indexOf(active) : -1;
    part.replaceChildren(...fresh.childNodes);
    for (const details of part.querySelectorAll("details[id]")) {
      if (open.has(details.id)) details.open = open.get(details.id);
    }
    if (focused >= 0) {
      const same = part.querySelectorAll("a, button, summary, [tabindex]")[focused];
      if (same) same.focus({ preventScroll: true });
    }
  }

  async function ask() {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    askedAt = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
        if (fresh) put(part, document.importNode(fresh, true));
      }
      // An operation that has ended is not asked for any more.
      if (!page.body.dataset.every && !page.body.dataset.changes) return stop();
      if (!source || source.readyState === EventSource.OPEN) say("on", "Live");
    } catch {
      say("off", "The monitor does not answer; trying again");
    } finally {
      asking = false;
      if (again) {
        again = false;
        soon();
      }
    }
  }

  function soon() {
    if (paused || timer) return;
    const wait = Math.max(0, askedAt + pause - Date.now());
    timer = setTimeout(() => {
      timer = null;
      ask();
    }, wait);
  }

  function look() {
    if (changes === undefined || source || document.hidden || paused) return;
    source = new EventSource(`/api/v1/live?${changes}`);
    for (const name of ["job", "more", "missed"]) source.addEventListener(name, soon);
    source.addEventListener("open", () => say("on", "Live"));
    // A lost connection is made again by the browser, one that was refused is not.
    source.addEventListener("error", () => {
      say("off", "No word of changes; trying again");
      if (source && source.readyState === EventSource.CLOSED) {
        blind();
        setTimeout(look, 5000);
      }
    });
  }

  function blind() {
    if (source) source.close();
    source = null;
  }

  let ticking = null;
  function go() {
    look();
    if (every && !ticking) ticking = setInterval(() => document.hidden || paused || soon(), every);
    if (source) say("wait", "Connecting");
    else say("on", "Live");
  }

  function stop() {
    blind();
    clearInterval(ticking);
    ticking = null;
    status.hidden = true;
  }

  if (changes !== undefined || every) {
    status.append(words, " ", button);
    button.addEventListener("click", () => {
      paused = !paused;
      if (paused) {
        blind();
        say("paused", "Paused");
      } else {
        go();
        soon();
      }
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) blind();
      else if (!paused) {
        look();
        soon();
      }
    });
    go();
  }

  // On a narrow screen the sections are scrolled.
  const here = document.querySelector("header [aria-current]");
  if (here) here.scrollIntoView({ block: "nearest", inline: "center" });

  // The search box, from anywhere.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    const field = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (field) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  });

  // A form is sent once.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });
})();
