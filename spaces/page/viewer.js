// The viewer: series, slices over phases with masks, landmarks, and the curve of the shown stack. No library.
// Runs as `js_on_load` of a gr.HTML: `element`, `props` and `watch` are given. `props.value` is the manifest of viewing.py.

const SVG = "http://www.w3.org/2000/svg";
const WORDS = { "cine SAX": "Short-axis cine", "cine 4CH": "Four-chamber cine", "cine 2CH": "Two-chamber cine",
  "cine 3CH": "Three-chamber cine", "LGE SAX": "Short-axis late enhancement", "T1 SAX": "Native T1 map, short axis",
  "T1 post SAX": "T1 map after contrast, short axis", "T2 SAX": "T2 map, short axis", other: "Something else" };
const CURVES = { lv: ["LV", 1, ""], rv: ["RV", 3, "6 3"], myocardium: ["Myocardium", 2, "2 3"], la: ["LA", 4, ""],
  ra: ["RA", 5, "6 3"], la_area: ["LA", 4, ""], ra_area: ["RA", 5, "6 3"] };
const COLOURS = { 1: "#E69F00", 2: "#009E73", 3: "#56B4E9", 4: "#F0E442", 5: "#0072B2", 6: "#CC79A7" };
const INNERMOST = [5, 4, 3, 2, 1, 6]; // drawn in this order: the lines of cavity and scar lie on those of the wall
const LEAST_MS = 20, BEAT_MS = 1000;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
let now = null; // what is shown: {stack, phase, slice, opacity, outlines, hidden, landmarks, timer, brightness, contrast, near}
const sheets = new Map();

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawn(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

const $ = (part) => element.querySelector(`[data-part="${part}"]`);
const title = (stack) => WORDS[stack.kind] ?? stack.kind;

function sheet(name) {
  if (!name) return null;
  const address = now.base + name;
  if (!sheets.has(address)) {
    const picture = new Image();
    picture.onload = () => paint();
    picture.src = address;
    sheets.set(address, picture);
  }
  const picture = sheets.get(address);
  return picture.complete && picture.naturalWidth ? picture : null;
}

// ---- series -------------------------------------------------------------------------------------------------------
function told(stack) {
  const named = { model: "model", header: "header", you: "you said so", nobody: "nobody knows" };
  const parts = stack.recognised.map((one) => (named[one.by] ?? one.by) +
    (one.probability === null ? "" : ` ${Math.round(100 * one.probability)} %`));
  return parts[0] === parts[1] ? parts[0] : `type: ${parts[0]}; view: ${parts[1]}`;
}

function seriesTable(stacks) {
  const rows = stacks.map((stack) => make("tr", { "data-stack": stack.number },
    make("td", {}, make("button", { type: "button", class: "pick", "data-pick": stack.number,
      onclick: () => choose(stack.number) }, `${stack.number}. ${title(stack)}`),
      stack.uncertain ? make("span", { class: "mark" }, "uncertain") : null),
    make("td", { "data-name": "recognised by" }, told(stack)),
    make("td", { "data-name": "size" }, `${stack.slice_count} slice${stack.slice_count > 1 ? "s" : ""} × ` +
      `${stack.phases} phase${stack.phases > 1 ? "s" : ""}`),
    make("td", { "data-name": "masks" }, stack.masks_from ? stack.labels.map((one) => one.name).join(", ") || "empty"
      : "none")));
  return make("table", { class: "series" },
    make("caption", {}, `${stacks.length} series in the study`),
    make("thead", {}, make("tr", {}, ...["Series", "Recognised by", "Size", "Masks"].map((name) =>
      make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows));
}

// ---- picture ------------------------------------------------------------------------------------------------------
function tileOf(picture, stack) {
  const column = now.phase % stack.columns, row = Math.floor(now.phase / stack.columns);
  return [picture, column * stack.width, row * stack.height, stack.width, stack.height];
}

function paint() {
  if (!now || !now.stack || !now.stack.slices.length) return;
  const { stack } = now, canvas = $("canvas"), context = canvas.getContext("2d");
  const view = now.near && stack.heart ? stack.heart : { x: 0, y: 0, width: stack.width, height: stack.height };
  const [rowMm, columnMm] = stack.pixel_mm, wide = view.width * columnMm, high = view.height * rowMm;
  const room = Math.min($("stage").clientWidth, 640), ratio = window.devicePixelRatio || 1;
  const scale = Math.min(room / wide, Math.min(560, window.innerHeight * 0.7) / high);
  canvas.style.width = `${Math.round(wide * scale)}px`;
  canvas.style.height = `${Math.round(high * scale)}px`;
  const [width, height] = [Math.round(wide * scale * ratio), Math.round(high * scale * ratio)];
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  const one = stack.slices[now.slice], image = sheet(one.image), mask = sheet(one.mask);
  const across = width / view.width, down = height / view.height, all = [stack.width * across, stack.height * down];
  context.setTransform(1, 0, 0, 1, -view.x * across, -view.y * down);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.filter = `brightness(${now.brightness}%) contrast(${now.contrast}%)`;
  if (image) context.drawImage(...tileOf(image, stack), 0, 0, ...all);
  context.filter = "none";
  if (mask && now.opacity > 0) overlay(context, mask, ...all);
  if (now.landmarks) landmarks(context, across, down, ratio, view.x * across + width);
  context.setTransform(1, 0, 0, 1, 0, 0);
  marks(context, width, height, ratio, scale * ratio);
  canvas.dataset.shown = image ? `${stack.number}/${now.slice}/${now.phase}` : "";
}

function overlay(context, mask, width, height) {
  const { stack } = now, small = new OffscreenCanvas(stack.width, stack.height), pen = small.getContext("2d");
  pen.drawImage(...tileOf(mask, stack), 0, 0, stack.width, stack.height);
  const data = pen.getImageData(0, 0, stack.width, stack.height), pixels = new Uint32Array(data.data.buffer);
  for (const one of stack.labels.filter((label) => now.hidden.has(label.id))) {
    const gone = packed(one.colour);
    pixels.forEach((value, index) => { if (value === gone) pixels[index] = 0; });
  }
  context.globalAlpha = now.outlines ? Math.min(1, now.opacity / 40) : now.opacity / 100; // lines cover little
  if (now.outlines) {
    outlines(context, pixels, width / stack.width, height / stack.height);
  } else {
    pen.putImageData(data, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, width, height);
  }
  context.globalAlpha = 1;
}

function packed(colour) {
  const part = (from) => parseInt(colour.slice(from, from + 2), 16);
  return ((255 << 24) | (part(5) << 16) | (part(3) << 8) | part(1)) >>> 0;
}

function outlines(context, pixels, across, down) {
  const { stack } = now, { width, height } = stack;
  context.lineWidth = Math.max(2, Math.min(across * 0.8, 3 * (window.devicePixelRatio || 1)));
  context.lineCap = "round";
  for (const one of [...stack.labels].sort((a, b) => INNERMOST.indexOf(a.id) - INNERMOST.indexOf(b.id))) {
    const own = packed(one.colour);
    context.strokeStyle = one.colour;
    context.beginPath();
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const at = y * width + x;
      if (pixels[at] !== own) continue;
      if (x === 0 || pixels[at - 1] !== own) line(context, x, y, x, y + 1, across, down);
      if (x === width - 1 || pixels[at + 1] !== own) line(context, x + 1, y, x + 1, y + 1, across, down);
      if (y === 0 || pixels[at - width] !== own) line(context, x, y, x + 1, y, across, down);
      if (y === height - 1 || pixels[at + width] !== own) line(context, x, y + 1, x + 1, y + 1, across, down);
    }
    context.stroke();
  }
}

function line(context, x1, y1, x2, y2, across, down) {
  context.moveTo(x1 * across, y1 * down);
  context.lineTo(x2 * across, y2 * down);
}

function text(context, words, x, y, size, align = "left", baseline = "top") {
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textAlign = align;
  context.textBaseline = baseline;
  context.lineWidth = size / 4;
  context.strokeStyle = "#000";
  context.strokeText(words, x, y);
  context.fillStyle = "#fff";
  context.fillText(words, x, y);
}

function landmarks(context, across, down, ratio, edge) {
  const there = now.stack.landmarks.filter((one) => one.slice === now.slice);
  const near = Math.min(...there.map((one) => Math.abs(one.phase - now.phase)));
  for (const one of there.filter((other) => Math.abs(other.phase - now.phase) === near)) {
    const [x, y] = [(one.column + 0.5) * across, (one.row + 0.5) * down], reach = 6 * ratio;
    for (const [colour, wide] of [["#000", 4], ["#fff", 1.6]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide * ratio;
      context.beginPath();
      context.arc(x, y, reach, 0, 2 * Math.PI);
      context.moveTo(x - reach, y); context.lineTo(x + reach, y);
      context.moveTo(x, y - reach); context.lineTo(x, y + reach);
      context.stroke();
    }
    const words = one.label.replaceAll("_", " "), size = 11 * ratio;
    context.font = `600 ${size}px system-ui, sans-serif`;
    const fits = x + 2 * reach + context.measureText(words).width < edge;
    text(context, words, x + (fits ? 1.4 : -1.4) * reach, y, size, fits ? "left" : "right", "middle");
  }
}

function marks(context, width, height, ratio, pixelsPerMm) {
  const { stack } = now, size = 13 * ratio, edge = 8 * ratio;
  if (stack.letters) {
    text(context, stack.letters.top, width / 2, edge, size, "center");
    text(context, stack.letters.bottom, width / 2, height - edge, size, "center", "bottom");
    text(context, stack.letters.left, edge, height / 2, size, "left", "middle");
    text(context, stack.letters.right, width - edge, height / 2, size, "right", "middle");
  }
  const marked = [["ED", stack.ed], ["ES", stack.es]].filter(([, phase]) => phase === now.phase);
  text(context, `slice ${now.slice + 1} / ${stack.slices.length}`, edge, edge, size);
  text(context, `phase ${now.phase + 1} / ${stack.phases}${marked.map(([name]) => "  " + name).join("")}`, edge,
    edge + 1.4 * size, size);
  const lengthMm = [100, 50, 20, 10].find((mm) => mm * pixelsPerMm < width / 3) ?? 10, long = lengthMm * pixelsPerMm;
  const [x, y] = [width - edge - long, height - edge - size * 0.2];
  for (const [colour, wide] of [["#000", 5], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = wide * ratio;
    context.beginPath();
    context.moveTo(x, y - 5 * ratio); context.lineTo(x, y); context.lineTo(x + long, y);
    context.lineTo(x + long, y - 5 * ratio);
    context.stroke();
  }
  text(context, `${lengthMm} mm`, x + long / 2, y - 6 * ratio, size, "center", "bottom");
}

// ---- curve --------------------------------------------------------------------------------------------------------
function curve(stack) {
  const found = Object.entries(stack.curves).filter(([name, values]) => CURVES[name] && values.some((one) => one > 0));
  if (!found.length || stack.phases < 2) return make("p", { class: "quiet" }, "No curve over time for this series.");
  const [width, height, left, top, right, bottom] = [480, 226, 44, 20, 92, 34];
  const times = stack.times_ms ?? found[0][1].map((_, index) => index + 1), unit = found[0][0].includes("area") ? "cm²" : "ml";
  const most = 1.08 * Math.max(...found.flatMap(([, values]) => values)), first = times[0], last = times[times.length - 1];
  const x = (time) => left + ((time - first) / (last - first || 1)) * (width - left - right);
  const y = (value) => height - bottom - (value / most) * (height - top - bottom);
  const box = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "data-part": "curve", class: "curve",
    "aria-label": `Volume over time: ${found.map(([name, values]) => `${CURVES[name][0]} from ` +
      `${Math.round(Math.max(...values))} to ${Math.round(Math.min(...values))} ${unit}`).join(", ")}` });
  const step = [1, 2, 5, 10, 20, 25, 50, 100, 200].find((one) => most / one <= 5) ?? 500;
  for (let value = 0; value <= most; value += step) {
    box.append(drawn("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "rule" }),
      drawn("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value));
  }
  box.append(drawn("text", { x: 2, y: top - 5 }, unit),
    drawn("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" },
      stack.times_ms ? "ms after the R wave" : "phase"),
    drawn("text", { x: left, y: height - bottom + 16, "text-anchor": "middle" }, Math.round(first)),
    drawn("text", { x: width - right, y: height - bottom + 16, "text-anchor": "middle" }, Math.round(last)));
  for (const [name, phase] of [["ED", stack.ed], ["ES", stack.es]]) {
    if (phase === null) continue;
    box.append(drawn("line", { x1: x(times[phase]), x2: x(times[phase]), y1: top, y2: height - bottom, class: "moment" }),
      drawn("text", { x: x(times[phase]), y: top - 5, class: "strong", "text-anchor": "middle" }, name));
  }
  const ends = [];
  for (const [name, values] of found) {
    const [words, label, dash] = CURVES[name], points = values.map((value, index) => `${x(times[index])},${y(value)}`);
    let end = y(values[values.length - 1]) + 4;
    while (ends.some((other) => Math.abs(other - end) < 13)) end += 4;
    ends.push(end);
    box.append(drawn("polyline", { points: points.join(" "), stroke: COLOURS[label], "stroke-dasharray": dash }),
      drawn("text", { x: width - right + 8, y: end, class: "strong" }, words));
  }
  box.append(drawn("line", { x1: 0, x2: 0, y1: top, y2: height - bottom, class: "cursor", "data-part": "cursor" }));
  now.cursor = (phase) => { const at = x(times[phase]); return [at, at]; };
  return box;
}

// ---- controls -----------------------------------------------------------------------------------------------------
function slider(part, words, most, value, act) {
  const input = make("input", { type: "range", min: 0, max: most, step: 1, value, "data-part": part,
    "aria-label": words, oninput: (event) => act(Number(event.target.value)) });
  return make("label", { class: "slider" }, make("span", {}, words), input, make("output", { "data-part": `${part}-told` }));
}

function box(part, words, checked, act, colour = null) {
  return make("label", { class: "box" }, make("input", { type: "checkbox", checked, "data-part": part,
    onchange: (event) => { act(event.target.checked); paint(); } }),
    colour ? make("span", { class: "swatch", style: `background:${colour}`, "aria-hidden": "true" }) : null, words);
}

function controls(stack) {
  const jumps = [["ED", stack.ed], ["ES", stack.es]].filter(([, phase]) => phase !== null).map(([name, phase]) =>
    make("button", { type: "button", class: "small", "data-part": `to-${name}`, onclick: () => go({ phase }) },
      `to ${name}`));
  const many = stack.phases > 1;
  return make("div", { class: "controls", role: "group", "aria-label": "Viewer controls" },
    stack.slices.length > 1 ? slider("slice", "Slice", stack.slices.length - 1, now.slice, (slice) => go({ slice })) : null,
    many ? slider("phase", "Phase", stack.phases - 1, now.phase, (phase) => go({ phase })) : null,
    many ? make("div", { class: "line" }, make("button", { type: "button", class: "small main", "data-part": "play",
      "aria-pressed": "false", onclick: play }, "▶ Play"), ...jumps) : null,
    stack.labels.length ? slider("opacity", "Mask opacity", 100, now.opacity, (opacity) => go({ opacity })) : null,
    slider("brightness", "Brightness", 300, now.brightness, (brightness) => go({ brightness })),
    slider("contrast", "Contrast", 300, now.contrast, (contrast) => go({ contrast })),
    stack.heart ? box("near", "zoom to the heart", now.near, (on) => { now.near = on; }) : null,
    stack.labels.length || stack.landmarks.length ? make("fieldset", { class: "line" }, make("legend", {}, "Shown"),
      ...stack.labels.map((one) => box(`label-${one.id}`, one.name, !now.hidden.has(one.id),
        (on) => (on ? now.hidden.delete(one.id) : now.hidden.add(one.id)), one.colour)),
      stack.labels.length ? box("outlines", "outlines only", now.outlines, (on) => { now.outlines = on; }) : null,
      stack.landmarks.length ? box("landmarks", "landmarks", now.landmarks, (on) => { now.landmarks = on; }) : null) : null);
}

function go(change) {
  Object.assign(now, change);
  const { stack } = now, time = stack.times_ms ? `, ${Math.round(stack.times_ms[now.phase])} ms` : "";
  const tell = (part, words, value) => {
    if ($(`${part}-told`)) $(`${part}-told`).textContent = words;
    const input = $(part);
    if (input) { input.value = value; input.setAttribute("aria-valuetext", words); }
  };
  tell("slice", `${now.slice + 1} of ${stack.slices.length}`, now.slice);
  tell("phase", `${now.phase + 1} of ${stack.phases}${time}`, now.phase);
  tell("opacity", `${now.opacity} %`, now.opacity);
  tell("brightness", `${now.brightness} %`, now.brightness);
  tell("contrast", `${now.contrast} %`, now.contrast);
  if (now.cursor && $("cursor")) {
    const [x1, x2] = now.cursor(now.phase);
    $("cursor").setAttribute("x1", x1);
    $("cursor").setAttribute("x2", x2);
  }
  paint();
}

function play() {
  const button = $("play");
  if (now.timer) { clearInterval(now.timer); now.timer = null; } else {
    const pace = Math.max(LEAST_MS, (now.stack.cycle_ms ?? BEAT_MS) / now.stack.phases);
    now.timer = setInterval(() => {
      if (!element.isConnected) return clearInterval(now.timer);
      go({ phase: (now.phase + 1) % now.stack.phases });
    }, pace * (calm ? 3 : 1));
  }
  button.textContent = now.timer ? "❚❚ Pause" : "▶ Play";
  button.setAttribute("aria-pressed", String(Boolean(now.timer)));
}

function keys(event) {
  const { stack } = now, moves = { ArrowUp: ["slice", 1], ArrowDown: ["slice", -1], ArrowRight: ["phase", 1],
    ArrowLeft: ["phase", -1] }[event.key];
  if (event.key === " " && stack.phases > 1) play();
  else if (moves) step(...moves);
  else return;
  event.preventDefault();
}

function step(what, by) {
  const count = what === "slice" ? now.stack.slices.length : now.stack.phases;
  const next = now[what] + by;
  go({ [what]: what === "slice" ? Math.max(0, Math.min(count - 1, next)) : (next + count) % count });
}

let turned = 0;
function wheel(event) {
  turned += event.deltaY;
  event.preventDefault();
  if (Math.abs(turned) >= 40) { step("slice", turned > 0 ? 1 : -1); turned = 0; }
}

// ---- whole --------------------------------------------------------------------------------------------------------
function choose(number) {
  if (now.timer) clearInterval(now.timer);
  const stack = now.stacks.find((one) => one.number === number);
  Object.assign(now, { stack, timer: null, cursor: null, slice: Math.floor((stack.slices.length - 1) / 2),
    phase: stack.ed ?? 0, hidden: new Set(), landmarks: true });
  element.querySelectorAll("[data-pick]").forEach((button) =>
    button.setAttribute("aria-current", String(Number(button.dataset.pick) === number)));
  const notes = stack.notes.length ? make("details", { class: "notes" }, make("summary", {},
    `Remarks on this series (${stack.notes.length})`), make("ul", {}, ...stack.notes.map((note) => make("li", {}, note)))) : null;
  const facts = [stack.thickness_mm ? `${stack.thickness_mm.toFixed(1)} mm thick` : "",
    stack.distance_mm ? `${stack.distance_mm.toFixed(1)} mm apart` : "",
    stack.pixel_mm ? `pixels ${stack.pixel_mm[0].toFixed(2)} × ${stack.pixel_mm[1].toFixed(2)} mm` : ""].filter(Boolean);
  const body = $("body");
  if (!stack.slices.length) {
    body.replaceChildren(make("p", {}, "This series cannot be drawn."), notes ?? "");
    return;
  }
  body.replaceChildren(
    make("h2", {}, title(stack)), make("p", { class: "quiet" }, facts.join(" · ")),
    make("div", { class: "bench" },
      make("div", { class: "left" }, make("div", { class: "stage", "data-part": "stage", tabindex: 0, role: "application",
        "aria-label": `Pictures of ${title(stack)}. Arrow up and down: slice; left and right: phase; space: play.`,
        onkeydown: keys }, make("canvas", { "data-part": "canvas", "aria-hidden": "true" })),
      make("p", { class: "quiet keys" }, "Wheel or ↑ ↓: slice · ← →: phase · space: play")),
      make("div", { class: "side" }, controls(stack), curve(stack))),
    notes ?? "");
  $("stage").addEventListener("wheel", wheel, { passive: false });
  go({});
  stack.slices.forEach((one) => { sheet(one.image); sheet(one.mask); });
}

function show() {
  if (now && now.timer) clearInterval(now.timer);
  const value = props.value;
  if (!value || !value.stacks || !value.stacks.length) { element.replaceChildren(); now = null; return; }
  sheets.clear();
  now = { ...value, opacity: 45, brightness: 100, contrast: 100, near: false, outlines: false, timer: null };
  element.replaceChildren(make("section", { class: "viewer", "aria-label": "Pictures and masks" },
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of series" }, seriesTable(value.stacks)),
    make("div", { "data-part": "body" })));
  choose(value.chosen ?? value.stacks[0].number);
}

watch("value", show);
new ResizeObserver(() => paint()).observe(element);
show();
