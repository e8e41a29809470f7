// The page of people. Everything is in the page: figures in `index`, pictures and maps as base64 in elements of their own,
// which are decoded when a person is shown.
(() => {
  "use strict";
  const find = (id) => document.getElementById(id);
  const index = JSON.parse(find("index").textContent);
  const { make, button, copy } = leam;
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const number = (value, digits = 3) => {
    if (!Number.isFinite(value)) return "–";
    const text = Math.abs(value).toFixed(digits);
    return value < 0 && Number(text) ? `−${text}` : text;
  };
  const signed = (value, digits = 3) => (Number(value?.toFixed(digits)) > 0 ? "+" : "") + number(value, digits);
  const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
  const percent = (value) => (Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : "–");
  const mean = (values) => {
    const known = values.filter(Number.isFinite);
    return known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : NaN;
  };

  // People, with their places among the pictures of a file.
  const people = index.people.map(([name, count, pictures, groups], id) => ({ name, count, pictures, groups, id }));
  let picture = 0;
  for (const one of people) {
    if (one.id % index.each === 0) picture = 0;
    const before = people[one.id - 1];
    one.file = Math.floor(one.id / index.each);
    one.first = picture;
    one.ever = before ? before.ever + before.pictures.length : 0;
    picture += one.pictures.length;
  }
  const byName = new Map(people.map((one) => [one.name, one]));
  const moves = floats(index.moves);
  const colours = { heat: bytes(index.colours.heat), difference: bytes(index.colours.difference) };
  for (const one of index.recognizers) {
    for (const key of ["own", "others", "drop", "control"]) if (one[key]) one[key] = floats(one[key]);
    if (one.own) one.margin = one.own.map((value, id) => value - one.others[id]);
    one.share = new Uint16Array(bytes(one.share).buffer);
    one.mean = floats(one.mean);
    one.layerMeans = one.layers.length ? floats(one.layerMeans) : null;
  }
  const shareOf = (recognizer, id, region) => {
    const value = recognizer.share[id * index.regions.length + region];
    return value === 65535 ? NaN : value / 65534;
  };
  const meanShares = (recognizer) => recognizer.meanShares ??= index.regions.map(
    (_, region) => mean(people.map((one) => shareOf(recognizer, one.id, region))),
  );

  // What is shown; the address holds it.
  const state = { person: null, recognizer: index.recognizers[0], layer: 0, sort: "", search: "", groups: {} };
  const sorts = [
    ["specific", "most specific to the person", "margin", -1],
    ["unspecific", "least specific to the person", "margin", 1],
    ["drop", "largest similarity drop", "drop", -1],
    ["small-drop", "smallest similarity drop", "drop", 1],
    ["name", "name", null, 1],
  ].filter(([, , key]) => key === null || index.recognizers.some((one) => one[key]));
  state.sort = sorts[0][0];

  const address = (changed = {}) => {
    const { person, recognizer, layer } = { ...state, ...changed };
    const found = new URLSearchParams();
    if (person) found.set("person", person.name);
    found.set("recognizer", recognizer.name);
    if (recognizer.layers.length) found.set("layer", recognizer.layers[Math.min(layer, recognizer.layers.length - 1)][1]);
    if (state.sort !== sorts[0][0]) found.set("sort", state.sort);
    if (state.search) found.set("search", state.search);
    for (const [column, value] of Object.entries(state.groups)) if (value) found.set(`group-${column}`, value);
    // A space is %20 in the report's links; both are read.
    return `#${found.toString().replaceAll("+", "%20")}`;
  };
  const readAddress = () => {
    const found = new URLSearchParams(location.hash.slice(1));
    const named = found.get("person");
    const said = index.recognizers.find((one) => one.name === found.get("recognizer"));
    if (said) state.recognizer = said;
    const layer = state.recognizer.layers.findIndex((one) => one[1] === found.get("layer"));
    if (layer >= 0) state.layer = layer;
    if (sorts.some(([key]) => key === found.get("sort"))) state.sort = found.get("sort");
    state.search = found.get("search") ?? state.search;
    for (const column of index.groups) state.groups[column] = found.get(`group-${column}`) ?? "";
    if (named !== null) state.person = byName.get(named) ?? null;
    state.missing = named !== null && !state.person ? named : null;
  };

  // Files of pictures: the last ones stay decoded.
  const files = new Map();
  const file = (name) => {
    let found = files.get(name);
    if (found) files.delete(name);
    else {
      const image = new Image();
      image.src = `data:image/webp;base64,${find(name).textContent}`;
      found = image.decode().then(() => image);
      if (files.size > 60) files.delete(files.keys().next().value);
    }
    files.set(name, found);
    return found;
  };
  const pen = (width, height) => {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    return canvas.getContext("2d", { willReadFrequently: true });
  };

  // A face as the recognizer sees it, on a context of any size; false if its picture is lost.
  const drawFace = async (context, person, place, crop) => {
    const start = ((person.ever + place) * index.crops.length + index.crops.indexOf(crop)) * 6;
    const [a, c, e, b, d, f] = moves.subarray(start, start + 6);
    if (!a && !b && !c && !d) return false;
    const side = index.sizes.face, at = person.first + place, { width, height } = context.canvas;
    const image = await file(`faces-${person.file}`);
    context.save();
    context.imageSmoothingQuality = "high";
    context.setTransform(a * width, b * height, c * width, d * height, e * width, f * height);
    context.drawImage(image, (at % index.columns) * side, Math.floor(at / index.columns) * side, side, side, 0, 0, side, side);
    context.restore();
    return true;
  };
  // The values of a square map at a place of a file.
  const values = async (name, left, top, side, end) => {
    const context = pen(side, side);
    context.drawImage(await file(name), left, top, side, side, 0, 0, side, side);
    const data = context.getImageData(0, 0, side, side).data;
    return Float32Array.from({ length: side * side }, (_, k) => end * (data[4 * k] / 255) ** 2);
  };
  const overallMap = (person, recognizer, place) => {
    const at = person.first + person.id % index.each + place, side = index.sizes.map;
    return values(
      `maps-${recognizer.name}-${person.file}`, (at % index.columns) * side, Math.floor(at / index.columns) * side, side,
      recognizer.ends[person.file],
    );
  };
  const layerMap = (person, recognizer, layer) => {
    const side = index.sizes.layer;
    return values(
      `layers-${recognizer.name}-${person.file}`, layer * side + 1, (person.id % index.each) * side + 1, index.sizes.cells,
      recognizer.layerEnds[person.file],
    );
  };
  // The mean of everybody without this person.
  const ofOthers = (all, own, person, recognizer) => {
    const rest = recognizer.pictures - person.count;
    return rest > 0 ? all.map((value, k) => Math.max(0, (recognizer.pictures * value - person.count * own[k]) / rest)) : null;
  };

  // A map between its cells.
  const between = (map, x, y) => {
    const side = Math.sqrt(map.length), limit = side - 1;
    const px = Math.min(Math.max(x * side - 0.5, 0), limit), py = Math.min(Math.max(y * side - 0.5, 0), limit);
    const left = Math.floor(px), top = Math.floor(py), right = Math.min(left + 1, limit), bottom = Math.min(top + 1, limit);
    const fx = px - left, fy = py - top;
    return (map[top * side + left] * (1 - fx) + map[top * side + right] * fx) * (1 - fy)
      + (map[bottom * side + left] * (1 - fx) + map[bottom * side + right] * fx) * fy;
  };
  const size = (recognizer) => {
    const width = 176;
    return [width, Math.round(width / recognizer.aspect)];
  };
  // Colours hide more of the face where the map is higher, as in the report. Differences are drawn without a face.
  const paint = (canvas, map, end, face, kind = "heat") => {
    const { width, height } = canvas;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    for (let y = 0, k = 0; y < height; y++) {
      for (let x = 0; x < width; x++, k += 4) {
        const value = between(map, (x + 0.5) / width, (y + 0.5) / height) / end;
        const bright = Math.min(Math.max(kind === "heat" ? value : (value + 1) / 2, 0), 1);
        const colour = 3 * Math.round(bright * 255);
        const strength = kind === "heat" ? bright ** 0.6 * 0.9 : 1;
        const grey = face ? 0.75 * (0.299 * face[k] + 0.587 * face[k + 1] + 0.114 * face[k + 2]) : 70;
        for (let channel = 0; channel < 3; channel++) {
          picture.data[k + channel] = grey * (1 - strength) + colours[kind][colour + channel] * strength;
        }
        picture.data[k + 3] = 255;
      }
    }
    context.putImageData(picture, 0, 0);
  };
  const facePixels = async (person, place, recognizer) => {
    const context = pen(...size(recognizer));
    const drawn = await drawFace(context, person, place, recognizer.crop);
    return drawn ? context.getImageData(0, 0, ...size(recognizer)).data : null;
  };
  const canvasOf = (recognizer, label) => {
    const [width, height] = size(recognizer);
    return make("canvas", { width, height, role: "img", "aria-label": label });
  };
  const scale = (kind, low, high, unit) => {
    const steps = Array.from({ length: 12 }, (_, k) => {
      const at = 3 * Math.round((255 * k) / 11);
      return `rgb(${colours[kind].subarray(at, at + 3).join(" ")})`;
    });
    const strip = make("i");
    strip.style.background = `linear-gradient(to right, ${steps.join(", ")})`;
    return make("p", { class: "muted scale" }, low, strip, `${high} ${unit}`);
  };

  // The list.
  const rows = people.map((person) => {
    const canvas = make("canvas", { width: 56, height: 56, "aria-hidden": "true" });
    const value = make("span", { class: "value" });
    const link = make("a", { tabindex: "-1" }, canvas, make("span", { class: "name" }, person.name), value);
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      choose(person, { focus: matchMedia("(max-width: 52rem)").matches });
    });
    return { person, item: make("li", {}, link), link, value, canvas, text: person.name.toLowerCase() };
  });
  const rowOf = new Map(rows.map((row) => [row.item, row]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      const { canvas, person } = rowOf.get(entry.target);
      if (person.pictures.length) drawFace(canvas.getContext("2d"), person, 0, index.crops[0]);
    }
  }, { root: find("list"), rootMargin: "200px" });
  let visible = rows;
  const orderList = () => {
    const [, , key, direction] = sorts.find(([name]) => name === state.sort);
    const figures = key && state.recognizer[key];
    const compared = new Intl.Collator(undefined, { numeric: true }).compare;
    rows.sort((one, other) => {
      const first = figures?.[one.person.id], second = figures?.[other.person.id];
      const known = Number.isFinite(second) - Number.isFinite(first);
      return known || (Number.isFinite(first) && direction * (first - second)) || compared(one.person.name, other.person.name);
    });
    for (const { value, person } of rows) {
      value.textContent = figures ? (key === "margin" ? signed : number)(figures[person.id]) : "";
    }
    find("list").replaceChildren(...rows.map(({ item }) => item));
  };
  const filterList = () => {
    const words = state.search.toLowerCase().split(/[\s_]+/).filter(Boolean);
    visible = rows.filter((row) => {
      const grouped = index.groups.every((column, k) => !state.groups[column] || row.person.groups[k] === state.groups[column]);
      row.item.hidden = !grouped || !words.every((word) => row.text.includes(word));
      return !row.item.hidden;
    });
    const [, , key] = sorts.find(([name]) => name === state.sort);
    const what = { margin: "own minus others’ coefficient", drop: "similarity drop" }[key];
    find("count").textContent = visible.length
      ? `${visible.length} of ${people.length} people${what ? ` · ${what}` : ""}` : "No person matches.";
    markRow();
  };
  const markRow = () => {
    const current = visible.find(({ person }) => person === state.person) ?? visible[0];
    for (const row of rows) {
      row.link.tabIndex = row === current ? 0 : -1;
      if (row.person === state.person) row.link.setAttribute("aria-current", "true");
      else row.link.removeAttribute("aria-current");
    }
  };
  const markLinks = () => { for (const row of rows) row.link.href = address({ person: row.person }); };
  const step = (by) => {
    const at = visible.findIndex(({ person }) => person === state.person);
    const row = visible[at + by] ?? (at < 0 ? visible[0] : null);
    if (row) {
      choose(row.person);
      row.item.scrollIntoView({ block: "nearest" });
    }
  };
  find("list").addEventListener("keydown", (event) => {
    const at = visible.findIndex(({ link }) => link === document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: visible.length - 1, PageDown: at + 10, PageUp: at - 10 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    visible[Math.min(Math.max(to, 0), visible.length - 1)]?.link.focus();
  });
  find("search").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && visible.length) {
      event.preventDefault();
      visible[0].link.focus();
    } else if (event.key === "Enter" && visible.length) choose(visible[0].person);
  });

  // One person.
  let shown = 0; // Counts what was asked for, so that an older picture never replaces a newer one.
  const section = (title, ...inside) => make("section", {}, make("h3", {}, title), ...inside);
  const rank = (list, id) => {
    if (!list || !Number.isFinite(list[id])) return "";
    const known = list.filter(Number.isFinite);
    return `${known.filter((value) => value > list[id]).length + 1} of ${known.length}`;
  };
  // Each line: its attributes, its name, and its cells. A narrow page shows the header in front of each cell.
  const table = (header, lines, kind = "") => make("table", { class: kind },
    make("thead", {}, make("tr", {}, ...header.map((text, k) => make("th", { scope: "col", class: k ? "number" : "" }, text)))),
    make("tbody", {}, ...lines.map(([attributes, name, cells]) => make("tr", attributes, make("th", { scope: "row" }, name),
      ...cells.map((cell, k) => (cell instanceof Node ? cell : make("td", { class: "number", "data-label": header[k + 1] }, cell)))))));

  const title = (person) => {
    const heading = make("h2", { tabindex: "-1" }, person.name);
    const about = [counted(person.count, "picture"), ...person.groups.filter(Boolean)].join(" · ");
    return make("div", { class: "title" }, heading, make("span", { class: "muted" }, about),
      make("span", { class: "tools" },
        button("‹ Previous", "Previous person of the list", () => step(-1)),
        button("Next ›", "Next person of the list", () => step(1)),
        button("Copy link", "Copy link to this person", copyLink),
        button("Print", "Print this person", () => print())));
  };
  const copyLink = () => {
    history.replaceState(null, "", address());
    copy(location.href, "the link");
  };

  const picturesOf = async (person, recognizer) => {
    const figures = await Promise.all(person.pictures.map(async (name, place) => {
      const pixels = await facePixels(person, place, recognizer);
      const face = canvasOf(recognizer, `Face ${place + 1} of ${person.name}, aligned for ${recognizer.name}`);
      if (pixels) face.getContext("2d").putImageData(new ImageData(pixels, ...size(recognizer)), 0, 0);
      const map = canvasOf(recognizer, `Overall map of face ${place + 1}`);
      paint(map, await overallMap(person, recognizer, place + 1), recognizer.scale, pixels);
      const note = pixels ? "" : " (the picture can no longer be read)";
      return make("figure", { class: "both" }, make("div", {}, face, map), make("figcaption", {}, name + note));
    }));
    const more = person.count - person.pictures.length;
    return section("Pictures and overall maps", make("div", { class: "maps" }, ...figures),
      ...(more > 0 ? [make("p", { class: "muted" }, `Not on this page: ${counted(more, "more picture")}; the maps and figures below are of all.`)] : []),
      scale("heat", "0", number(recognizer.scale, 1), "times the mean of a map, or more; one scale for all maps by this recognizer"));
  };

  const against = async (person, recognizer) => {
    const own = await overallMap(person, recognizer, 0);
    const others = ofOthers(recognizer.mean, own, person, recognizer);
    const face = await facePixels(person, 0, recognizer);
    const figure = (label, map, end, kind, within) => {
      const canvas = canvasOf(recognizer, label);
      paint(canvas, map, end, within, kind);
      return make("figure", {}, canvas, make("figcaption", {}, label));
    };
    const figures = [figure("This person's mean map", own, recognizer.scale, "heat", face)];
    const end = recognizer.scale / 2;
    if (others) {
      figures.push(figure("Mean map of all others", others, recognizer.scale, "heat", face));
      figures.push(figure("Difference", own.map((value, k) => value - others[k]), end, "difference", null));
    }
    const lines = index.recognizers.map((one) => {
      const button = make("button", { type: "button" }, one.name);
      button.addEventListener("click", () => choose(person, { recognizer: one }));
      return [one === recognizer ? { "aria-current": "true" } : {}, button, [
        number(one.own?.[person.id]), number(one.others?.[person.id]), signed(one.margin?.[person.id]),
        rank(one.margin, person.id), number(one.drop?.[person.id]), number(one.control?.[person.id]), rank(one.drop, person.id),
      ]];
    });
    const controls = [...new Set(index.recognizers.map((one) => one.controlName).filter(Boolean))];
    const units = [...new Set(index.recognizers.map((one) => one.unit))];
    return section("Own against others", make("div", { class: "maps" }, ...figures),
      ...(others ? [scale("difference", number(-end, 1), `+${number(end, 1)}`, "times the mean: right, this person’s map is higher; left, that of all others")] : []),
      make("p", { class: "muted" }, "Both maps are drawn on the person's first picture."),
      table(["recognizer", "own bc", "others’ bc", "difference", "rank", "drop", "control", "rank of drop"], lines, "wide-table"),
      make("p", { class: "muted" },
        "bc: mean Bhattacharyya coefficient of critical masks, of two pictures of the person (own) and of a picture of the "
        + `person and one of somebody else (others). Drop: ${units.join(", or ")}, if the critical pixels are hidden`
        + (controls.length ? `; control: the same for the mask ${controls.join(", ")}, the strongest control.` : ".")
        + " Ranks: 1 is the largest difference, or drop, of all people shown here."));
  };

  const layersOf = async (person, recognizer) => {
    if (!recognizer.layers.length) {
      return section("Layers", make("p", { class: "muted" }, "No maps of single layers; see below."));
    }
    const face = await facePixels(person, 0, recognizer);
    const own = canvasOf(recognizer, "This person's map of the layer"), others = canvasOf(recognizer, "Mean map of all others");
    const both = make("div", { class: "maps" }, make("figure", {}, own, make("figcaption", {}, "This person")),
      make("figure", {}, others, make("figcaption", {}, "All others")));
    const input = make("input", { type: "range", min: "0", max: String(recognizer.layers.length - 1), step: "1", "aria-label": "Layer", id: "layer" });
    const output = make("output", { for: "layer" });
    const bar = make("div");
    const draw = async (place) => {
      const [depth, name, end] = recognizer.layers[place];
      const cells = index.sizes.cells ** 2;
      input.setAttribute("aria-valuetext", `${name}, layer ${depth} of ${recognizer.depth}`);
      output.replaceChildren(make("b", {}, name), ` layer ${depth} of ${recognizer.depth}`);
      const map = await layerMap(person, recognizer, place);
      if (Number(input.value) !== place) return;
      paint(own, map, end, face);
      const rest = ofOthers(recognizer.layerMeans.subarray(place * cells, (place + 1) * cells), map, person, recognizer);
      if (rest) paint(others, rest, end, face);
      const left = recognizer.depth - recognizer.layers.length;
      bar.replaceChildren(scale("heat", "0", number(end, 1), "times the mean of a map, or more; this layer's own scale"),
        ...(left ? [make("p", { class: "muted" }, `Not on this page: ${counted(left, "other layer")} of this recognizer; see below.`)] : []));
    };
    input.value = String(Math.min(state.layer, recognizer.layers.length - 1));
    input.addEventListener("input", () => {
      state.layer = Number(input.value);
      draw(state.layer);
    });
    input.addEventListener("change", () => {
      history.replaceState(null, "", address());
      markLinks();
    });
    await draw(Number(input.value));
    return section("Layers, early to late", make("div", { class: "slider" }, input, output), both, bar);
  };

  const regionsOf = (person, recognizer) => {
    const all = meanShares(recognizer);
    const found = index.regions.map((name, region) => ({ name, own: shareOf(recognizer, person.id, region), all: all[region] }))
      .filter(({ own, all: of }) => own > 0 || of > 0.0005).sort((one, other) => (other.own || 0) - (one.own || 0));
    const most = Math.max(...found.map(({ own, all: of }) => Math.max(own || 0, of || 0)), 0.01);
    const lines = found.map(({ name, own, all: of }) => {
      const bar = make("div"), filled = make("b"), mark = make("i");
      filled.style.width = `${(100 * (own || 0)) / most}%`;
      mark.style.left = `calc(${(99 * (of || 0)) / most}% - 1px)`;
      bar.append(filled, mark);
      const drawn = make("td", { class: "bar", "aria-hidden": "true" }, bar);
      return [{}, name, [drawn, percent(own), percent(of), Number.isFinite(own) ? signed(100 * (own - of), 1) : "–"]];
    });
    const made = table(["region", "share", "this person", "all", "points"], lines);
    return section("Regions", make("p", { class: "muted key" }, make("b"), " share of this person's critical pixels in the region, mean over pictures",
      make("i"), "mean of all people on this page"), made);
  };

  const showPerson = async () => {
    const { person, recognizer } = state;
    const asked = ++shown;
    const box = find("person");
    if (!person) {
      delete box.dataset.shown;
      box.replaceChildren(section("Nobody is chosen", make("p", {}, state.missing === null
        ? "Choose a person in the list." : `This page has no person named “${state.missing}”.`)));
      return;
    }
    document.title = `LEAM: ${person.name}, ${recognizer.name}`;
    const parts = await Promise.all([
      picturesOf(person, recognizer), against(person, recognizer), layersOf(person, recognizer), regionsOf(person, recognizer),
    ]);
    if (asked !== shown) return;
    // The slider keeps the focus while the person or the recognizer changes.
    const sliding = document.activeElement?.id === "layer";
    box.replaceChildren(title(person), make("p", { class: "muted" }, `Recognizer: ${recognizer.name}`), ...parts);
    if (sliding) find("layer")?.focus();
    box.dataset.shown = person.name;
    performance.mark("leam-person");
  };

  const choose = async (person, { recognizer = state.recognizer, focus = false } = {}) => {
    const other = recognizer !== state.recognizer;
    Object.assign(state, { person, recognizer, missing: null });
    history.pushState(null, "", address());
    if (other) showRecognizer();
    markRow();
    await showPerson();
    if (focus) find("person").querySelector("h2")?.focus();
  };
  const showRecognizer = () => {
    find("recognizer").value = state.recognizer.name;
    orderList();
    filterList();
    markLinks();
  };
  const showControls = () => {
    find("search").value = state.search;
    find("sort").value = state.sort;
    for (const select of document.querySelectorAll("#groups select")) select.value = state.groups[select.dataset.column] ?? "";
    showRecognizer();
  };

  const option = (value, text) => make("option", { value }, text);
  find("recognizer").append(...index.recognizers.map((one) => option(one.name, one.name)));
  find("sort").append(...sorts.map(([key, text]) => option(key, text)));
  index.groups.forEach((column, k) => {
    const found = [...new Set(people.map((one) => one.groups[k]).filter(Boolean))].sort();
    const select = make("select", { "data-column": column }, option("", "all"), ...found.map((value) => option(value, value)));
    select.addEventListener("change", () => {
      state.groups[column] = select.value;
      filterList();
      history.replaceState(null, "", address());
      markLinks();
    });
    find("groups").append(make("label", {}, make("span", {}, column), select));
  });
  find("recognizer").addEventListener("change", (event) => {
    const recognizer = index.recognizers.find((one) => one.name === event.target.value);
    if (state.person) choose(state.person, { recognizer });
    else {
      state.recognizer = recognizer;
      showRecognizer();
    }
  });
  find("sort").addEventListener("change", (event) => {
    state.sort = event.target.value;
    orderList();
    filterList();
    find("list").scrollTop = 0;
    history.replaceState(null, "", address());
    markLinks();
  });
  find("search").addEventListener("input", (event) => {
    state.search = event.target.value;
    filterList();
  });
  find("search").addEventListener("change", () => {
    history.replaceState(null, "", address());
    markLinks();
  });
  const show = () => {
    readAddress();
    showControls();
    if (!state.person && state.missing === null) state.person = visible[0]?.person ?? null;
    markRow();
    rows.find(({ person }) => person === state.person)?.item.scrollIntoView({ block: "nearest" });
    return showPerson();
  };
  addEventListener("popstate", show);
  show();
  performance.mark("leam-list");
  for (const { item } of rows) seen.observe(item);
})();
