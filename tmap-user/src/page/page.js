"use strict";
// Everything on the page can be read without this script. It sorts and filters tables, isolates a machine,
// tells what a point is, and switches between light and dark.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const tip = one("#tip");

  // Controls that would do nothing without this script.
  all(".tools, #filter").forEach((element) => { element.hidden = false; });

  // Light and dark.
  const root = document.documentElement;
  const theme = one("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const told = () => theme.setAttribute("aria-pressed", String(isDark()));
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; told(); });
  system.addEventListener("change", told);
  told();

  // Printing shows every address that has pictures or is open, as long as that is a booklet and no book.
  const BOOKLET = 40;
  addEventListener("beforeprint", () => {
    const closed = all("details.address:not([open])");
    if (all("details.address").length <= BOOKLET) closed.forEach((element) => { element.open = true; element.dataset.forPrint = ""; });
  });
  addEventListener("afterprint", () => all("[data-for-print]").forEach((element) => { element.open = false; delete element.dataset.forPrint; }));
  one("#print").addEventListener("click", () => print());

  // Tables: a click on a heading sorts by its column, a second one turns the order round.
  const value = (row, column, kind) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent;
    return kind === "number" ? (text === "" ? null : Number(text)) : text;
  };
  const compare = (a, b, sign) => {
    // What isn't known comes last in either order.
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en"));
  };
  const sort = (heading) => {
    const table = heading.closest("table");
    const was = heading.getAttribute("aria-sort");
    const kind = heading.dataset.sort;
    const order = was ? (was === "ascending" ? "descending" : "ascending") : kind === "number" ? "descending" : "ascending";
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const keyed = [...table.tBodies[0].rows].map((row) => [value(row, heading.cellIndex, kind), row]);
    keyed.sort(([a], [b]) => compare(a, b, sign));
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  };
  const makeSortable = (table) => all("th[data-sort]", table).forEach((heading) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(heading));
  });

  // The search is for addresses, systems and limits, in the table and in the sections below it.
  const filter = one("#filter");
  if (filter) {
    const rows = all("#list tbody tr").map((row) => [row, row.textContent.toLowerCase(), row.cells[0].textContent]);
    const sections = new Map(all("details.address").map((element) => [element.dataset.address, element]));
    const search = () => {
      const words = one("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
      const show = one("#show").value;
      let shown = 0;
      for (const [row, text, address] of rows) {
        const fits = words.every((word) => text.includes(word)) && (show === "all" || show in row.dataset);
        row.hidden = !fits;
        shown += fits;
        const section = sections.get(address);
        if (section) section.hidden = !fits;
      }
      one("#found").textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} addresses`;
    };
    filter.addEventListener("input", search);
    filter.addEventListener("submit", (event) => event.preventDefault());
    search();
  }

  // A machine that was clicked stands alone, in pictures and table; a second click ends that.
  const isolate = (section, machine) => {
    const alone = section.dataset.isolated === machine ? "" : machine;
    section.dataset.isolated = alone;
    section.classList.toggle("isolated", alone !== "");
    all("svg .m, tbody tr[data-machine]", section).forEach((mark) => {
      mark.classList.toggle("off", alone !== "" && mark.dataset.machine !== alone);
    });
    all("button.pick", section).forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.pick === alone));
    });
  };
  const makePicks = (section) => {
    all(".hint", section).forEach((hint) => { hint.textContent = ". Press a number to see that machine alone."; });
    all("span.pick", section).forEach((span) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "pick";
      button.dataset.pick = span.dataset.pick;
      button.setAttribute("aria-pressed", "false");
      button.append(...span.childNodes);
      span.replaceWith(button);
    });
  };
  document.addEventListener("click", (event) => {
    const mark = event.target.closest("button.pick, svg .m[data-machine]");
    const section = mark && mark.closest("details.address");
    if (section) isolate(section, mark.dataset.pick || mark.dataset.machine);
  });

  // A point tells what it is: under the pointer, or reached with the arrow keys in a picture that has the focus.
  const words = new WeakMap();
  const textOf = (mark) => {
    const title = mark && mark.querySelector(":scope > title");
    // The browser would show it as well, later and smaller.
    if (title) { words.set(mark, title.textContent); title.remove(); }
    return mark && words.get(mark);
  };
  let here = null;
  const hush = () => { tip.hidden = true; if (here) here.classList.remove("here"); here = null; };
  const tell = (mark) => {
    hush();
    const text = textOf(mark);
    if (!text) return;
    here = mark;
    mark.classList.add("here");
    tip.textContent = text;
    tip.hidden = false;
    put();
  };
  const put = () => {
    if (!here) return;
    const box = here.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
  };
  const isTold = (element) => element.closest("figure svg *:has(> title)") || (words.has(element) ? element : null);
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest && isTold(event.target);
    if (mark) tell(mark); else if (!tip.hidden) hush();
  });
  addEventListener("scroll", put, { passive: true, capture: true });
  const makeReachable = (section) => all(".picture > svg", section).forEach((picture) => {
    picture.setAttribute("tabindex", "0");
    picture.addEventListener("blur", hush);
    picture.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") { hush(); return; }
      if (!step) return;
      event.preventDefault();
      const marks = all(".m:not(.off)", picture).filter((mark) => words.has(mark) || one(":scope > title", mark));
      const places = new Map(marks.map((mark) => [mark, mark.getBoundingClientRect().left]));
      marks.sort((a, b) => places.get(a) - places.get(b));
      const at = marks.indexOf(here);
      const next = at < 0 ? (step > 0 ? 0 : marks.length - 1) : Math.min(Math.max(0, at + step), marks.length - 1);
      if (marks[next]) tell(marks[next]);
    });
  });

  // Controls of a section are made when it is first opened: a page may have a thousand.
  const prepare = (section) => {
    if (section.dataset.ready) return;
    section.dataset.ready = "yes";
    all("table.sortable", section).forEach(makeSortable);
    makePicks(section);
    makeReachable(section);
  };
  all("table.sortable").filter((table) => !table.closest("details")).forEach(makeSortable);
  all("details.address").forEach((section) => {
    if (section.open) prepare(section); else section.addEventListener("toggle", () => prepare(section), { once: true });
  });

  // A link to an address opens its section.
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const section = target && target.closest("details");
    if (section) { section.open = true; target.scrollIntoView(); target.focus({ preventScroll: true }); }
  };
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => { if (event.target.closest("a[href^='#a-']")) setTimeout(reveal); });
  reveal();
})();
