// What a reader can do with a report: search, sort, copy and save tables, filter by recognizer, save charts. Without
// scripts the page shows the same figures.
(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const { make, button, say, copy } = leam;
  const save = (content, name, type) => {
    const address = content instanceof Blob ? content : new Blob([content], { type });
    const link = make("a", { href: URL.createObjectURL(address), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    say(`Saved ${name}`);
  };

  // Navigation.
  const wide = matchMedia("(min-width: 80rem)");
  const menus = all(".menu");
  const unfold = () => menus.forEach((menu) => { menu.open = wide.matches; });
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let at = target.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
    target.scrollIntoView();
  };
  const markCurrent = () => {
    const links = new Map(all("nav li a").map((link) => [link.hash.slice(1), link]));
    const seen = new Set();
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      const current = [...links.keys()].find((name) => seen.has(name));
      for (const [name, link] of links) {
        if (name === current) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    });
    all("section").forEach((section) => observer.observe(section));
  };
  unfold();
  wide.addEventListener("change", unfold);
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    for (const menu of menus) {
      if (!wide.matches && menu.open && (!menu.contains(event.target) || event.target.closest("li a"))) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && !wide.matches && menus.find((one) => one.open);
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // Tables. A missing figure comes last in either order.
  const MISSING = "–";
  const textOf = (cell) => cell.textContent.trim();
  const sortRows = (table, column, direction) => {
    const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
    const value = (row) => {
      const text = textOf(row.cells[column]);
      return numeric ? parseFloat(text.replace(/[<>,\s]/g, "")) : text;
    };
    const absent = (found) => found === MISSING || Number.isNaN(found);
    const rows = table.original.slice();
    if (direction) {
      const keys = new Map(rows.map((row) => [row, value(row)]));
      rows.sort((one, other) => {
        const [a, b] = [keys.get(one), keys.get(other)];
        if (absent(a) || absent(b)) return absent(a) - absent(b);
        return direction * (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
      });
    }
    table.tBodies[0].append(...rows);
  };
  const makeSortable = (table) => {
    table.original = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const sort = make("button", { type: "button", title: "Sort" }, head.textContent);
      sort.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        sortRows(table, column, { ascending: 1, descending: -1 }[next] ?? 0);
      });
      head.replaceChildren(sort);
    });
  };
  // The rows that are shown, an interval in columns of its own.
  const INTERVAL = /^(.*\S)\s\[(\S+?),?\s(?:to\s)?(\S+)\]$/;
  const recordsOf = (table) => {
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(textOf));
    const names = table.tHead ? [...table.tHead.rows[0].cells].map(textOf) : [];
    const split = (names.length ? names : rows[0] ?? []).map((_, column) => rows.some((row) => INTERVAL.test(row[column])));
    const widen = (cells, of) => cells.flatMap((cell, column) => (split[column] ? of(cell) : [cell]));
    const head = widen(names, (name) => [name, `${name}, low`, `${name}, high`]);
    const body = rows.map((row) => widen(row, (cell) => INTERVAL.exec(cell)?.slice(1) ?? [cell, "", ""]));
    return head.length ? [head, ...body] : body;
  };
  // A spreadsheet would run a text that starts like a formula.
  const harmless = (cell) => (/^[=@\t]|^[+-](?![\d.])/.test(cell) ? `'${cell}` : cell);
  const csv = (records) => records.map((row) => row.map((cell) => `"${harmless(cell).replaceAll('"', '""')}"`).join(",")).join("\r\n");
  const tsv = (records) => records.map((row) => row.map((cell) => harmless(cell).replace(/\s+/g, " ")).join("\t")).join("\n");

  const update = (box) => {
    const rows = [...box.querySelector("tbody").rows];
    const query = box.querySelector("input")?.value.trim().toLowerCase() ?? "";
    for (const row of rows) {
      const unmatched = query !== "" && !row.textContent.toLowerCase().includes(query);
      row.classList.toggle("unmatched", unmatched);
      row.hidden = unmatched || excluded(row);
    }
    const shown = rows.filter((row) => !row.hidden).length;
    box.querySelector(".count").textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
  };
  const tables = all(".table");
  tables.forEach((box, place) => {
    const table = box.querySelector("table");
    const section = box.closest("section, main > div");
    const name = `leam-${section.id}-${all(".table", section).indexOf(box) + 1}`;
    const what = section.querySelector("h2")?.firstChild.textContent ?? "this page";
    const tools = make("div", { class: "tools" });
    if (table.tBodies[0].rows.length > 7) {
      const search = make("input", { type: "search", placeholder: "Search rows", "aria-label": `Search the rows of table ${place + 1}` });
      search.addEventListener("input", () => update(box));
      tools.append(search);
    }
    tools.append(
      button("Copy", `Copy table ${place + 1} of ${what}`, () => {
        const records = recordsOf(table);
        copy(tsv(records), `${records.length} rows`);
      }),
      button("CSV", `Save table ${place + 1} of ${what} as CSV`, () => save(`\ufeff${csv(recordsOf(table))}\r\n`, `${name}.csv`, "text/csv")),
      make("span", { class: "count", role: "status" }),
    );
    box.prepend(tools);
    if (table.tHead && table.tBodies[0].rows.length > 1) makeSortable(table);
    if (table.tHead) {
      const labels = [...table.tHead.rows[0].cells].map(textOf);
      for (const row of table.tBodies[0].rows) [...row.cells].forEach((cell, column) => { cell.dataset.label = labels[column]; });
    }
  });

  for (const text of all("main pre")) {
    const tools = make("div", { class: "tools" });
    tools.append(button("Copy", "Copy this text", () => copy(text.textContent, "the text")));
    text.before(tools);
  }

  // A table that has no room is stacked on a narrow page; on a wide one it scrolls, and says so.
  const fit = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const scroll = target.querySelector(".scroll");
      const room = target.clientWidth;
      if (!room) continue;
      if (!target.classList.contains("stacked")) target.needed = scroll.scrollWidth;
      const narrow = target.needed > room + 1;
      target.classList.toggle("stacked", narrow && room < 640);
      target.classList.toggle("overflowing", narrow && room >= 640);
      if (narrow && room >= 640) {
        scroll.tabIndex = 0;
        scroll.setAttribute("role", "region");
        scroll.setAttribute("aria-label", `Table ${tables.indexOf(target) + 1}, scrolls sideways`);
      } else {
        for (const attribute of ["tabindex", "role", "aria-label"]) scroll.removeAttribute(attribute);
      }
    }
  });
  tables.forEach((box) => fit.observe(box));

  // Recognizers.
  const boxes = all(".filter input");
  function excluded(element) {
    const name = element.dataset.recognizer;
    return name !== undefined && boxes.some((box) => box.value === name && !box.checked);
  }
  const filter = () => {
    for (const element of all("main [data-recognizer]:not(tr)")) element.hidden = excluded(element);
    tables.forEach(update);
    const chosen = boxes.filter((box) => box.checked);
    const note = document.querySelector(".filtered");
    note.hidden = chosen.length === boxes.length;
    note.textContent = `Only ${chosen.map((box) => box.value).join(", ") || "what is about all recognizers"}: the page is filtered.`;
    redraw(charts);
    document.querySelector(".chosen").textContent = chosen.length < boxes.length ? `(${chosen.length} of ${boxes.length})` : "";
  };
  boxes.forEach((box) => box.addEventListener("change", filter));

  // Charts: pictures that become interactive when they are about to be seen. The library runs when the first one is.
  const charts = all(".chart");
  const library = () => {
    const found = document.getElementById("vega");
    if (window.vegaEmbed || !found) return;
    const script = make("script");
    script.textContent = found.textContent;
    document.head.append(script);
  };
  // A specification without the marks, rows and legend entries of some recognizers.
  const without = (part, names) => {
    if (Array.isArray(part)) {
      return part.filter((one) => !["series", "row", "column"].some((field) => names.has(one?.[field]))).map((one) => without(one, names));
    }
    if (part === null || typeof part !== "object") return part;
    const copied = Object.fromEntries(Object.entries(part).map(([name, value]) => [name, without(value, names)]));
    if (Array.isArray(part.domain) && part.domain.some((one) => names.has(one))) {
      const kept = part.domain.map((one) => !names.has(one));
      copied.domain = part.domain.filter((_, place) => kept[place]);
      if (Array.isArray(part.range) && part.range.length === kept.length) copied.range = part.range.filter((_, place) => kept[place]);
    }
    return copied;
  };
  const draw = async (figure) => {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const names = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    library();
    figure.view?.finalize();
    const label = figure.getAttribute("aria-label");
    const place = figure.querySelector(".view") ?? make("div", { class: "view", role: "img", "aria-label": label });
    place.replaceChildren();
    figure.querySelector(".drawing").after(place);
    figure.drawnAt = figure.clientWidth;
    const made = await window.vegaEmbed(place, names.size ? without(spec, names) : spec, { ast: true, tooltip: { disableDefaultStyle: true } });
    figure.view = made.view;
    // The label says what the chart shows; its marks have none.
    place.querySelector("svg").setAttribute("aria-hidden", "true");
    figure.classList.add("live");
  };
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "400px" });
  const redraw = (figures) => figures.forEach((figure) => { near.unobserve(figure); near.observe(figure); });
  // A file of its own has no colours of the page.
  const svgOf = (figure) => {
    const copied = figure.querySelector(".live .view svg, .drawing svg").cloneNode(true);
    copied.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    return new XMLSerializer().serializeToString(copied).replace(/var\(--[\w-]+,\s*([^()]+)\)/g, "$1");
  };
  const savePng = (figure, name) => {
    const text = svgOf(figure);
    const { width, height } = figure.querySelector(".live .view svg, .drawing svg").viewBox.baseVal;
    const picture = new Image();
    picture.addEventListener("load", () => {
      const canvas = make("canvas", { width: 3 * width, height: 3 * height });
      const context = canvas.getContext("2d");
      context.fillStyle = "white";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, `${name}.png`));
    });
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  };
  for (const figure of charts) {
    const [name, what] = [`leam-${figure.id}`, figure.getAttribute("aria-label")];
    const tools = make("span", { class: "tools" });
    tools.append(
      button("SVG", `Save as SVG: ${what}`, () => save(svgOf(figure), `${name}.svg`, "image/svg+xml")),
      button("PNG", `Save as PNG: ${what}`, () => savePng(figure, name)),
      button("Copy link", `Copy the link to: ${what}`, () => copy(`${location.href.split("#")[0]}#${figure.id}`, "the link")),
    );
    figure.querySelector("figcaption").append(tools);
  }
  redraw(charts);
  let resized;
  addEventListener("resize", () => {
    if (matchMedia("print").matches) return;
    clearTimeout(resized);
    resized = setTimeout(() => redraw(charts.filter((one) => one.view && one.clientWidth && one.clientWidth !== one.drawnAt)), 200);
  });

  // Print: everything that is folded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("main details:not([open])");
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));

  markCurrent();
  reveal();
})();
