// What pages gain with JavaScript: a colour scheme of one's own, keys, and news without a click.
"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => {
    try { return localStorage.getItem("scheme"); } catch { return null; }
  };
  const keep = (scheme) => {
    try { localStorage.setItem("scheme", scheme); } catch { /* a browser that keeps nothing */ }
  };
  // At once, before anything is drawn: a page must not flash.
  if (["light", "dark"].includes(kept())) root.dataset.scheme = kept();

  const isDark = () => (root.dataset.scheme ?? (dark.matches ? "dark" : "light")) === "dark";

  const tell = () => {
    const button = document.querySelector("[data-scheme-words]");
    if (button) button.textContent = isDark() ? "Light colours" : "Dark colours";
  };

  // Our clock may be wrong; what counts is the server's.
  let ahead = 0;
  const set = (page) => {
    document.body.dataset.again = page.body.dataset.again ?? "";
    const told = page.body.dataset.now;
    if (told) ahead = Date.now() - Date.parse(told);
  };

  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const words = (at) => {
    const away = (at - Date.now() + ahead) / 1000;
    const seconds = Math.abs(away);
    if (seconds < 1) return "now";
    const [unit, size] = UNITS.find(([, most]) => seconds >= most);
    const count = Math.floor(seconds / size);
    const age = `${count} ${unit}${count === 1 ? "" : "s"}`;
    return away > 0 ? `in ${age}` : `${age} ago`;
  };
  const age = () => {
    for (const one of document.querySelectorAll("time[data-ago]")) one.textContent = words(Date.parse(one.dateTime));
  };

  // The page as the server has it now takes the place of what is shown, unless somebody is busy with it.
  const isBusy = () => {
    const at = document.activeElement;
    return document.hidden
      || !getSelection().isCollapsed
      || (at?.closest("main") != null && !at.matches("main, main a:not(.picture a)"))
      || [...document.querySelectorAll("main form input[type=search], main form input[type=text]")].some((one) => one.value !== one.defaultValue);
  };
  // What is shown stays, but nobody must take it for the present.
  const missed = () => {
    const news = document.querySelector("[data-news]");
    if (news.dataset.news === "none") return;
    news.dataset.news = "none";
    news.setAttribute("role", "alert");
    news.prepend("No news since. ");
  };
  const stamp = (fresh) => document.querySelector("[data-news]").replaceWith(fresh.querySelector("[data-news]"));
  // What a page says, but for how long ago: who reads it is not to be disturbed by nothing.
  const gist = (main) => {
    const copy = main.cloneNode(true);
    for (const one of copy.querySelectorAll("time, [data-drift]")) one.textContent = "";
    for (const one of copy.querySelectorAll("details")) one.open = false;
    return copy.innerHTML;
  };
  // What is scrolled inside itself.
  const MOVING = ".scroll, .plot, .picture, .wide";
  const look = async () => {
    if (isBusy()) return;
    const main = document.querySelector("main");
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
      if (!answer.ok) { missed(); return; }
      if (isBusy()) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      set(fresh);
      if (gist(main) === gist(fresh.querySelector("main"))) { stamp(fresh); return; }
      const focus = document.activeElement?.closest("main a")?.getAttribute("href");
      const kept = [...main.querySelectorAll(MOVING)].map((one) => [one.scrollLeft, one.scrollTop]);
      const open = [...main.querySelectorAll("details")].map((one) => one.open);
      main.replaceChildren(...fresh.querySelector("main").childNodes);
      [...main.querySelectorAll("details")].forEach((one, number) => { one.open = open[number] ?? one.open; });
      [...main.querySelectorAll(MOVING)].forEach((one, number) => one.scrollTo(...(kept[number] ?? [0, 0])));
      stamp(fresh);
      if (focus) main.querySelector(`a[href="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
    } catch { missed(); }
  };

  addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-scheme]");
    button.hidden = false;
    tell();
    button.addEventListener("click", () => {
      root.dataset.scheme = isDark() ? "light" : "dark";
      keep(root.dataset.scheme);
      tell();
    });
    dark.addEventListener("change", tell);
    set(document);
    setInterval(age, 20_000);
    // A page that is not complete yet says to ask sooner.
    const later = () => setTimeout(async () => { await look(); later(); }, 1000 * document.body.dataset.again);
    if (document.body.dataset.again) later();
    // What was wished for is told once.
    const here = new URL(location.href);
    if (here.searchParams.has("looked")) { here.searchParams.delete("looked"); history.replaceState(null, "", here); }
    // Where there is little room, filters that nobody uses are folded away, and tables tell what pictures cannot.
    const narrow = matchMedia("(max-width: 50rem)");
    const fold = () => {
      for (const one of document.querySelectorAll("details.more")) one.open = !narrow.matches || one.dataset.chosen !== undefined;
      if (narrow.matches) for (const one of document.querySelectorAll("details.table")) one.open = true;
    };
    narrow.addEventListener("change", fold);
    fold();
    document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    // A choice in a form is an answer already.
    document.addEventListener("change", (event) => {
      if (event.target.matches(".filters select")) event.target.form.requestSubmit();
    });
  });

  // Addresses tell what was chosen, and nothing of what was not.
  addEventListener("formdata", (event) => {
    if (event.target.method !== "get") return;
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
  });

  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) return;
    const field = document.querySelector("[data-find]");
    if (field) { event.preventDefault(); field.focus(); field.select(); }
  });
})();
