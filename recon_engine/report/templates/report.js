(() => {
  "use strict";
  const ROW = 30, SPARE = 8, SHORT = 14, PRINTED = 5_000, LONGEST_COMPARED = 160;
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const count = new Intl.NumberFormat("en-US");

  // Cell text is inserted as text nodes, never as HTML. Invisible characters, backslashes
  // and combining marks are shown as escapes, by the same rule as `characters.py`.
  const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}|\\/u;
  const ESCAPES = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };
  const isApart = (text) => text.normalize("NFC") !== text;

  function escape(c) {
    const code = c.codePointAt(0);
    const hex = code.toString(16);
    return ESCAPES[c] ?? (code > 0xffff ? `\\U${hex.padStart(8, "0")}` : `\\u${hex.padStart(4, "0")}`);
  }

  function element(name, props = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(props)) {
      if (key === "class") made.className = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  function plain(text, apart = isApart(text)) {
    if (text === "") return [element("span", { class: "control" }, "(blank)")];
    const parts = [];
    let run = "";
    for (const c of text) {
      if (!UNSEEN.test(c) && !(apart && /\p{Mn}/u.test(c))) { run += c; continue; }
      if (run) parts.push(run);
      run = "";
      parts.push(element("span", { class: "control" }, escape(c)));
    }
    if (run) parts.push(run);
    return parts;
  }

  const dotted = (text) => text.replace(/^ +| +$/g, (blanks) => "·".repeat(blanks.length));

  // ---- character differences ----

  function changed(old, now, kind) {
    const a = Array.from(dotted(old)), b = Array.from(dotted(now));
    const apart = { number: placesOfNumbers, date: placesOfDates }[kind];
    // A mask may show one text for both.
    if (apart && old !== now) {
      const [one, other] = apart(old, now);
      const mark = (side, mine, theirs) => side.map((c, at) =>
        [c, mine !== null && (mine[at] === null || c === (theirs.get(mine[at]) ?? "0"))]);
      const digits = (side, mine) => new Map((mine ?? []).map((place, at) => [place, side[at]]));
      return [mark(a, one, digits(b, other)), mark(b, other, digits(a, one))];
    }
    let from = 0, end = 0;
    while (from < a.length && from < b.length && a[from] === b[from]) from++;
    while (end < a.length - from && end < b.length - from && a.at(-1 - end) === b.at(-1 - end)) end++;
    const inner = common(a.slice(from, a.length - end), b.slice(from, b.length - end));
    const whole = (side, kept) => side.map((c, at) => [c, at < from || at >= side.length - end || kept.has(at - from)]);
    return [whole(a, inner[0]), whole(b, inner[1])];
  }

  // The place of each character of two numbers, such as 0 before the point: digits are
  // compared with those of the same place, where none is a 0. Null for other characters.
  // [null, null] if the notations may be others (`1.234` is a thousand in some): then the
  // whole values are marked. terminal.py does the same.
  const NUMBER = /^([+-]?)(\d+|\d{1,3}(?:,\d{3})+)(?:\.\d*)?$/, UNSURE = /^[+-]?[1-9]\d{0,2}[.,]\d{3}$/;
  function placesOfNumbers(old, now) {
    const isSure = (text) => NUMBER.test(text) && !UNSURE.test(text);
    const sign = (text) => NUMBER.exec(text)[1].replace("+", "");
    if (!isSure(old) || !isSure(now) || sign(old) !== sign(now)) return [null, null];
    return [old, now].map((text) => {
      let place = (text.split(".")[0].match(/\d/g)).length;
      return Array.from(text, (c) => (/\d/.test(c) ? --place : null));
    });
  }

  // The same for dates: those of one notation have equal places.
  function placesOfDates(old, now) {
    const shape = (text) => text.replace(/\d/g, "0");
    if (shape(old) !== shape(now)) return [null, null];
    const places = Array.from(old, (_, at) => at);
    return [places, places];
  }

  // The longest common subsequence, as positions in both texts. It takes a.length * b.length
  // steps, so longer texts are marked as changed from their first to their last difference.
  function common(a, b) {
    const kept = [new Set(), new Set()];
    if (!a.length || !b.length || a.length > LONGEST_COMPARED || b.length > LONGEST_COMPARED) return kept;
    const wide = b.length + 1, best = new Uint16Array((a.length + 1) * wide);
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        best[i * wide + j] = a[i] === b[j]
          ? best[(i + 1) * wide + j + 1] + 1
          : Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
    for (let i = 0, j = 0; i < a.length && j < b.length;) {
      if (a[i] === b[j]) { kept[0].add(i++); kept[1].add(j++); }
      else if (best[(i + 1) * wide + j] >= best[i * wide + j + 1]) i++;
      else j++;
    }
    return kept;
  }

  function marked(characters, kind) {
    const apart = isApart(characters.map(([c]) => c).join(""));
    const box = element("bdi", { class: kind });
    if (!characters.length) box.append(...plain(""));
    for (let at = 0; at < characters.length;) {
      const same = characters[at][1];
      let text = "";
      while (at < characters.length && characters[at][1] === same) text += characters[at++][0];
      box.append(...(same ? plain(text, apart) : [element("mark", {}, ...plain(text, apart))]));
    }
    return box;
  }

  function sides(cell) {
    const old = cells.old[cell], now = cells.now[cell];
    if (old === null) return [element("bdi", { class: "was" }, ...plain(now))];
    const [was, is] = changed(old, now, kindOf(cell));
    return [marked(was, "was"), marked(is, "is")];
  }

  function arrow(cell) {
    const [was, is] = sides(cell);
    return is ? [was, " → ", is] : [was];
  }

  // ---- the evidence, stored by column (page_data.py describes the fields) ----

  const keyOf = (at) => data.keyColumns.map((column) => column[at]);
  const keyText = (key) => (key.length === 1 ? key[0] : `[${key.map((part) => JSON.stringify(part)).join(", ")}]`);
  const readable = (key) => key.map((part) => part || "(blank)").join(" · ");
  const cells = { row: [], combination: data.combinations, old: data.old, now: data.new };
  data.cellsOf.forEach((many, row) => { for (let n = 0; n < many; n++) cells.row.push(row); });
  const columnOf = (cell) => data.columns[data.pairs[cells.combination[cell]][0]];
  const kindOf = (cell) => data.kinds[data.pairs[cells.combination[cell]][1]];
  // `OLD (NEW)` for a column that has another name in NEW.
  const both = (name) => (Object.hasOwn(data.newNames, name) ? `${name} (${data.newNames[name]})` : name);
  // 1 if a suppression accepts it, 0 if not, null if that is not known.
  const WORDS = { 1: "yes", 0: "", null: "unknown" };
  const noted = (text, accepted) => text + ({ 1: " · accepted", null: " · perhaps accepted" }[accepted] ?? "");
  const settled = (accepted) => (accepted === 1 ? "accepted" : "");
  const isIn = (state, accepted) => !state || (state === "accepted") === (accepted === 1);
  const acceptedCell = (cell) => (data.accepted ? data.accepted[cell] : 0);
  const spelled = (kind) => kind.replaceAll("_", " ");

  // Cells with another value come first; cells written another way need less attention,
  // and those that are accepted need none.
  const rewritten = data.pairs.map(([, kind]) => data.rewritten.includes(data.kinds[kind]));
  const order = [];
  const rank = (cell) => (acceptedCell(cell) === 1 ? 2 : Number(rewritten[cells.combination[cell]]));
  for (const late of [0, 1, 2])
    cells.row.forEach((_, cell) => { if (rank(cell) === late) order.push(cell); });

  // Lowercase copies for the search are built once, in idle time or at the first search.
  let lowerCells = null, lowerKeys = null;
  function lower() {
    if (lowerCells) return;
    const names = data.columns.map((name) => name.toLowerCase());
    lowerKeys = data.cellsOf.map((_, row) => readable(keyOf(row)).toLowerCase());
    lowerCells = cells.row.map((_, cell) =>
      `${names[data.pairs[cells.combination[cell]][0]]}\n${cells.old[cell] ?? ""}\n${cells.now[cell]}`.toLowerCase());
  }

  const changes = {
    title: "Cells that differ", unit: "cell", judged: Boolean(data.accepted), opened: "The columns that differ in this row",
    heads: ["Key", "Column", "Old → new", "Kind"],
    all: order,
    matching({ q, column, kind, state }) {
      const fits = data.pairs.map(([c, k]) => (!column || data.columns[c] === column) && (!kind || data.kinds[k] === kind));
      if (q) lower();
      return order.filter((cell) => fits[cells.combination[cell]] && isIn(state, acceptedCell(cell))
        && (!q || lowerCells[cell].includes(q) || lowerKeys[cells.row[cell]].includes(q)));
    },
    row: (cell) => cells.row[cell],
    key: (cell) => keyOf(cells.row[cell]),
    accepted: acceptedCell,
    paint: (cell) => [
      element("span", { class: "mono" }, ...plain(readable(keyOf(cells.row[cell])))),
      element("span", { class: "mono" }, ...plain(both(columnOf(cell)))),
      element("span", {}, ...arrow(cell)),
      element("span", { class: ["bad", "good", "quiet"][rank(cell)] }, noted(spelled(kindOf(cell)), acceptedCell(cell))),
    ],
    table(cell) {
      const row = cells.row[cell], lines = [];
      cells.row.forEach((other, at) => {
        if (other !== row) return;
        const [was, is] = sides(at);
        lines.push([element("span", { class: "mono" }, ...plain(columnOf(at))), was, is ?? "", noted(spelled(kindOf(at)), acceptedCell(at))]);
      });
      return [["Column", "Old", "New", "Kind"], lines];
    },
    others(cell) {
      const others = data.compared - data.cellsOf[cells.row[cell]];
      if (!others) return "no column agrees";
      return others === 1 ? "the other column agrees" : `the other ${count.format(others)} columns agree`;
    },
    csvHead: [...data.keys, "column", "old", "new", "kind"],
    csv: (cell) => [...keyOf(cells.row[cell]), columnOf(cell), cells.old[cell] ?? "", cells.now[cell], kindOf(cell)],
    onPaper(some) {
      const head = element("tr", {}, ...this.heads.map((name) => element("th", { scope: "col" }, name)));
      const rows = some.map((cell) => element("tr", { class: settled(acceptedCell(cell)) }, ...this.paint(cell).map((each) => element("td", {}, each))));
      return element("table", { class: "dense" }, element("thead", {}, head), element("tbody", {}, ...rows));
    },
  };

  // Missing or extra rows. Column `c` of row `r` is `values[c][indices[c][r]]`.
  function unmatchedView(title, { columns, values, indices, accepted }) {
    const cell = (row, column) => values[column][indices[column][row]];
    const at = data.keys.map((key) => columns.indexOf(key));
    const total = columns.length ? indices[0].length : 0;
    const all = Array.from({ length: total }, (_, row) => row);
    const whole = (row) => columns.map((_, column) => cell(row, column));
    const others = (row) => row.filter((_, column) => !at.includes(column));
    return {
      title, unit: "row", judged: Boolean(accepted), opened: "The whole row", all,
      accepted: (row) => (accepted ? accepted[row] : 0),
      heads: [data.keys, others(columns)].map((names) => names.map(both).join(" · ")),
      matching({ q, state }) {
        return all.filter((row) => isIn(state, this.accepted(row))
          && (!q || whole(row).join("\n").toLowerCase().includes(q)));
      },
      row: (row) => row,
      key: (row) => at.map((column) => cell(row, column)),
      paint(row) {
        const key = plain(readable(this.key(row))), note = noted("", this.accepted(row));
        return [
          element("span", { class: "mono" }, ...key, element("span", { class: "quiet" }, note)),
          element("span", { class: "mono quiet" }, ...plain(readable(others(whole(row))))),
        ];
      },
      table: (row) => [["Column", "Value"], columns.map((name, column) =>
        [element("span", { class: "mono" }, ...plain(name)), element("bdi", { class: "mono" }, ...plain(cell(row, column)))])],
      others: () => "the whole row",
      csvHead: columns,
      csv: whole,
      // The keys alone: whole rows fit no paper.
      onPaper(some) { return element("p", { class: "listed" }, ...some.map((row) => this.paint(row)[0])); },
    };
  }

  const views = { cells: changes, missing: unmatchedView("Missing rows", data.missing), extra: unmatchedView("Extra rows", data.extra) };

  // ---- state: the filter controls and the address (#…) always say the same ----

  const search = find("search"), byColumn = find("by-column"), byKind = find("by-kind"), byState = find("by-state");
  const grid = find("grid"), head = find("grid-head"), body = find("grid-body"), shown = find("shown");
  const tabs = [...document.querySelectorAll("[role=tab]")];
  let tab = "cells", found = [], at = 0;
  const view = () => views[tab];
  const filters = () => ({ q: search.value.trim().toLowerCase(), column: byColumn.value, kind: byKind.value, state: view().judged ? byState.value : "" });

  const options = (select, names) => select.append(...names.map((name) => element("option", { value: name }, spelled(name))));
  data.columns.forEach((name) => byColumn.append(element("option", { value: name }, ...plain(both(name)).map((part) => part.textContent ?? part))));
  options(byKind, data.kinds);

  // The total, and the file that holds all rows, if the page carries only a sample.
  function sampleNote() {
    const total = data.totals[tab];
    if (total <= view().all.length) return "";
    return ` · ${count.format(total)} in total${data.files ? `, in ${data.files[tab]}` : ""}`;
  }

  function refresh({ keepPlace = false } = {}) {
    const wide = tab === "cells";
    found = view().matching(filters());
    at = keepPlace ? Math.min(at, Math.max(found.length - 1, 0)) : 0;
    for (const each of tabs) {
      each.setAttribute("aria-selected", String(each.dataset.tab === tab));
      each.tabIndex = each.dataset.tab === tab ? 0 : -1;
    }
    find("panel").setAttribute("aria-labelledby", `tab-${tab}`);
    byColumn.hidden = byKind.hidden = !wide;
    byState.hidden = !view().judged;
    grid.classList.toggle("rows", !wide);
    grid.classList.toggle("judged", wide && view().judged);
    grid.classList.toggle("short", view().all.length < SHORT);
    grid.setAttribute("aria-label", view().title);
    grid.setAttribute("aria-rowcount", String(found.length + 1));
    head.replaceChildren(...view().heads.map((name) => element("span", { role: "columnheader" }, ...plain(name))));
    if (!keepPlace) grid.scrollTop = 0;
    showCount();
    paint();
  }

  function showCount() {
    shown.textContent = `${count.format(found.length)} of ${count.format(view().all.length)} shown${sampleNote()}`;
  }

  // Draw only the rows in view; padding above and below stands in for the others, so a
  // grid of 200,000 cells scrolls like one of 20.
  function paint() {
    const first = Math.max(Math.floor(grid.scrollTop / ROW) - SPARE, 0);
    const last = Math.min(first + Math.ceil(grid.clientHeight / ROW) + 2 * SPARE, found.length);
    const rows = [];
    for (let row = first; row < last; row++) {
      const painted = view().paint(found[row]);
      painted.forEach((each) => each.setAttribute("role", "gridcell"));
      const look = settled(view().accepted(found[row]));
      rows.push(element("div", { role: "row", class: look, id: `row-${row}`, "aria-rowindex": row + 2, "aria-selected": row === at }, ...painted));
    }
    if (!found.length) {
      const why = view().all.length ? "No match." : sampleNote() ? `Not on this page${sampleNote()}` : "None.";
      const none = element("span", { role: "gridcell", class: "quiet" }, why);
      rows.push(element("div", { role: "row" }, none));
    }
    body.style.paddingTop = `${first * ROW}px`;
    body.style.paddingBottom = `${Math.max(found.length - last, 0) * ROW}px`;
    body.replaceChildren(...rows);
    if (found.length && at >= first && at < last) grid.setAttribute("aria-activedescendant", `row-${at}`);
    else grid.removeAttribute("aria-activedescendant");
  }

  function go(row) {
    if (!found.length) return;
    at = Math.max(0, Math.min(row, found.length - 1));
    const top = at * ROW, room = grid.clientHeight - 2 * ROW;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top > grid.scrollTop + room) grid.scrollTop = top - room;
    paint();
  }

  function address(row) {
    const said = new URLSearchParams();
    if (tab !== "cells") said.set("tab", tab);
    if (search.value) said.set("q", search.value);
    if (tab === "cells" && byColumn.value) said.set("column", byColumn.value);
    if (tab === "cells" && byKind.value) said.set("kind", byKind.value);
    if (view().judged && byState.value) said.set("state", byState.value);
    if (row) said.set("row", row);
    return `#${said}`;
  }

  const remember = (row) => history.replaceState(null, "", address(row));

  function readAddress() {
    const said = new URLSearchParams(location.hash.slice(1));
    tab = Object.hasOwn(views, said.get("tab")) ? said.get("tab") : "cells";
    search.value = said.get("q") ?? "";
    byColumn.value = said.get("column") ?? "";
    byKind.value = said.get("kind") ?? "";
    byState.value = said.get("state") ?? "";
    // A column or kind that this page does not have filters nothing.
    for (const select of [byColumn, byKind, byState]) if (select.selectedIndex < 0) select.value = "";
    refresh();
    const wanted = said.get("row");
    const place = wanted === null ? -1 : found.findIndex((item) => keyText(view().key(item)) === wanted);
    if (place >= 0) { go(place); open(); }
    else if (said.size) find("samples").scrollIntoView();
  }

  const dialog = find("row");
  function open() {
    if (!found.length) return;
    const item = found[at], [heads, lines] = view().table(item);
    find("row-key").replaceChildren(...plain(readable(view().key(item))));
    find("row-names").textContent = data.keys.join(" · ");
    find("row-rest").textContent = `${view().unit} ${count.format(at + 1)} of ${count.format(found.length)} · ${view().others(item)}`;
    find("row-scroll").setAttribute("aria-label", view().opened);
    const top = element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)));
    const rows = lines.map((line) => element("tr", {}, ...line.map((each) => element("td", {}, each))));
    find("row-table").replaceChildren(element("thead", {}, top), element("tbody", {}, ...rows));
    remember(keyText(view().key(item)));
    if (!dialog.open) dialog.showModal();
  }
  // Go to the next or previous row: skip the other cells of the row that is shown.
  function step(by) {
    const here = view().row(found[at]);
    let next = at;
    while (next in found && view().row(found[next]) === here) next += by;
    if (next in found) { go(next); open(); }
  }
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey) return;
    step(by);
    event.preventDefault();
  });
  dialog.addEventListener("close", () => { remember(); grid.focus(); });
  find("row-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // ---- mouse and keyboard ----

  let waiting = 0;
  const seek = () => { cancelAnimationFrame(waiting); refresh(); remember(); };
  search.addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(seek);
  });
  for (const select of [byColumn, byKind, byState]) select.addEventListener("change", () => { refresh(); remember(); });
  let drawing = 0;
  grid.addEventListener("scroll", () => { cancelAnimationFrame(drawing); drawing = requestAnimationFrame(() => paint()); });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("[role=row]");
    if (row?.id) { go(Number(row.id.slice(4))); open(); }
  });
  function choose(name) { tab = name; refresh(); remember(); }
  tabs.forEach((each, place) => {
    each.addEventListener("click", () => choose(each.dataset.tab));
    each.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(place + step + tabs.length) % tabs.length];
      choose(next.dataset.tab);
      next.focus();
    });
  });
  grid.addEventListener("keydown", (event) => {
    const page = Math.floor(grid.clientHeight / ROW) - 2;
    const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -at, End: found.length };
    if (event.key === "Enter") open();
    else if (event.key in steps && !event.ctrlKey && !event.metaKey) go(at + steps[event.key]);
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    if (event.key === "/" && !typing) { event.preventDefault(); search.focus(); search.select(); }
    if (event.target === search && event.key === "Escape") { search.value = ""; seek(); }
    if (event.target === search && (event.key === "Enter" || event.key === "ArrowDown")) { event.preventDefault(); seek(); grid.focus(); }
  });
  addEventListener("hashchange", readAddress);

  // ---- download and print ----

  // A leading apostrophe keeps a spreadsheet from evaluating a cell as a formula. Numbers
  // such as -5 stay numbers.
  const harmless = (text) => (/^[=+\-@\t\r]/.test(text) && !/^[+-]?[\d.,]+$/.test(text) ? `'${text}` : text);
  const field = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  find("download").addEventListener("click", () => {
    const { csvHead, csv, accepted, judged } = view();
    const rows = [csvHead, ...found.map(csv)];
    if (judged) rows.forEach((row, at) => row.push(at ? WORDS[accepted(found[at - 1])] : "accepted"));
    const lines = rows.map((row) => row.map((text) => field(harmless(text))).join(","));
    const url = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv;charset=utf-8" }));
    element("a", { href: url, download: `${tab}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  // Paper has each list, whichever tab is shown; that of the tab as it is filtered.
  function listOnPaper(name) {
    const list = views[name], total = data.totals[name];
    if (!total) return [];
    const some = name === tab ? found : list.all, printed = some.slice(0, PRINTED);
    const isFiltered = some.length < list.all.length;
    const more = (isFiltered ? some.length : total) - printed.length;
    const where = data.files && !isFiltered ? `, in ${data.files[name]}` : "";
    const note = `${count.format(printed.length)} of ${count.format(total)}${isFiltered ? ", by a filter" : ""}`;
    const parts = [element("h3", {}, `${list.title} `, element("small", {}, note)), list.onPaper(printed)];
    if (more) parts.push(element("p", { class: "quiet" }, `… and ${count.format(more)} more${where}`));
    return parts;
  }
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((each) => { each.open = true; });
    find("paper").replaceChildren(...Object.keys(views).flatMap(listOnPaper));
  });
  addEventListener("afterprint", () => find("paper").replaceChildren());

  find("unscripted").remove();
  readAddress();
  (window.requestIdleCallback ?? setTimeout)(lower);
})();
