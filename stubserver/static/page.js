// The page of the admin API. Everything that is shown was recorded from strangers: it becomes text nodes, never markup.

const API = "/__admin";
const MOST = 50_000; // entries kept here; the server's journal keeps its own number
const SECONDS = 120; // what the plots show
const SOURCES = ["replayed", "recorded", "forwarded", "dummy", "unmatched", "fault"];

const $ = (id) => document.getElementById(id);

/** Make an element: `props` are properties, or attributes where they hold a dash; children are text or nodes. */
function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function svg(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** Ask the admin API; an error says what the server said. */
async function ask(path, method = "GET", body = undefined) {
  const options = { method, headers: {} };
  if (method !== "GET") {
    options.headers["content-type"] = "application/json";
    if (body !== undefined) options.body = JSON.stringify(body);
  }
  const answer = await fetch(API + path, options);
  const text = await answer.text();
  const value = text ? JSON.parse(text) : null;
  if (!answer.ok) throw new Error(value?.error?.message ?? `${answer.status} ${answer.statusText}`);
  return value;
}

// ---- words and numbers

const whole = new Intl.NumberFormat("en");

function milliseconds(value) {
  if (value === null || value === undefined) return "";
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  if (value >= 100) return `${Math.round(value)} ms`;
  return `${value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0)} ms`;
}

function bytes(value) {
  if (value < 1000) return `${value} B`;
  if (value < 1_000_000) return `${(value / 1000).toFixed(1)} kB`;
  return `${(value / 1_000_000).toFixed(1)} MB`;
}

function clock(seconds) {
  const when = new Date(seconds * 1000);
  return `${when.toTimeString().slice(0, 8)}.${String(when.getMilliseconds()).padStart(3, "0")}`;
}

function tokens(entry) {
  return entry.tokens ? `${whole.format(entry.tokens.prompt)} + ${whole.format(entry.tokens.completion)}` : "";
}

function badge(source) {
  return el("span", { className: `badge ${SOURCES.includes(source) ? source : ""}`, textContent: source });
}

const pretty = (value) => JSON.stringify(value, null, 2);

// ---- the list of requests: only the rows that can be seen are in the page

let entries = []; // newest first
const byId = new Map();
let arrived = []; // not shown yet
let shown = []; // what the filters let through, newest first
let selected = null; // the id of an entry
let paused = false;
let inBodies = null; // ids whose bodies hold the searched text; null: not asked
let drawAsked = false;

const wanted = { text: "", status: "", sources: new Set(SOURCES) };

function passes(entry) {
  if (!wanted.sources.has(entry.source) && SOURCES.includes(entry.source)) return false;
  if (wanted.status && !String(entry.status).startsWith(wanted.status)) return false;
  if (!wanted.text || inBodies?.has(entry.id)) return true;
  return `${entry.method} ${entry.path}\n${entry.model ?? ""}\n${entry.cassette}\n${entry.note}\n${entry.fault}`
    .toLowerCase()
    .includes(wanted.text);
}

function rowHeight() {
  return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
}

/** Take in what came since the last frame. Who has scrolled down keeps what he reads where it is. */
function takeIn() {
  const list = $("list");
  if (paused || !arrived.length) return;
  const fresh = [];
  for (const entry of arrived) {
    const known = byId.get(entry.id);
    if (known) Object.assign(known, entry); // listed while it was under way
    else {
      byId.set(entry.id, entry);
      fresh.push(entry);
    }
  }
  arrived = [];
  fresh.reverse();
  entries = fresh.concat(entries);
  const fit = fresh.filter(passes);
  shown = fit.concat(shown);
  if (entries.length > MOST) {
    for (const gone of entries.splice(MOST)) byId.delete(gone.id);
    shown = shown.filter((entry) => byId.has(entry.id));
  }
  if (list.scrollTop > 0) list.scrollTop += fit.length * rowHeight();
}

function refilter() {
  shown = entries.filter(passes);
  draw();
}

function draw() {
  if (drawAsked) return;
  drawAsked = true;
  requestAnimationFrame(() => {
    drawAsked = false;
    takeIn();
    drawRows();
    drawShown();
  });
}

function drawRows() {
  const list = $("list");
  const height = rowHeight();
  const space = $("space");
  space.style.height = `${shown.length * height}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / height) - 8);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / height) + 8);
  const rows = [];
  for (let i = first; i < last; i += 1) {
    const row = makeRow(shown[i], i);
    row.style.top = `${i * height}px`;
    rows.push(row);
  }
  space.replaceChildren(...rows);
  if (selected !== null && document.getElementById(`request-${selected}`)) {
    list.setAttribute("aria-activedescendant", `request-${selected}`);
  } else list.removeAttribute("aria-activedescendant");
}

function makeRow(entry, index) {
  const cell = (name, text) => el("span", { className: name, textContent: text, title: text });
  const source = el("span", { className: "source" }, badge(entry.source));
  const row = el(
    "div",
    {
      className: entry.status >= 400 || entry.fault ? "row bad" : "row",
      id: `request-${entry.id}`,
      role: "option",
      "aria-selected": String(entry.id === selected),
      "aria-posinset": String(index + 1),
      "aria-setsize": String(shown.length),
      "aria-label": `${entry.source}, ${entry.method} ${entry.path}, ${entry.model ?? "no model"}, status ${entry.status}, ${milliseconds(entry.duration_ms)}`,
    },
    cell("time", clock(entry.time)),
    source,
    cell("method", entry.method),
    cell("path", entry.path),
    cell("model", entry.model ?? ""),
    cell("code", String(entry.status)),
    cell("first", milliseconds(entry.ttfb_ms)),
    cell("took", milliseconds(entry.duration_ms)),
    cell("tokens", tokens(entry)),
  );
  row.addEventListener("click", () => go(`#request/${entry.id}`));
  return row;
}

function drawShown() {
  const waiting = paused && arrived.length ? `, ${whole.format(arrived.length)} waiting` : "";
  $("shown").textContent = `${whole.format(shown.length)} of ${whole.format(entries.length)}${waiting}`;
  const empty = $("empty");
  empty.hidden = shown.length > 0;
  if (shown.length) return;
  if (entries.length) empty.textContent = "No request fits the search and the filters.";
  else {
    const code = el("code", { textContent: `OPENAI_BASE_URL=${location.origin}/v1` });
    empty.replaceChildren("Nothing was asked yet. Point a client here: ", code);
  }
}

/** Move the selection by rows; the list follows. */
function step(by) {
  if (!shown.length) return;
  const now = shown.findIndex((entry) => entry.id === selected);
  const next = Math.max(0, Math.min(shown.length - 1, now < 0 ? 0 : now + by));
  selected = shown[next].id;
  const list = $("list");
  const height = rowHeight();
  if (next * height < list.scrollTop) list.scrollTop = next * height;
  const below = (next + 1) * height - list.clientHeight;
  if (below > list.scrollTop) list.scrollTop = below;
  drawRows();
}

function listKey(event) {
  const page = Math.max(1, Math.floor($("list").clientHeight / rowHeight()) - 1);
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity, j: 1, k: -1 };
  if (event.key in moves) {
    step(moves[event.key]);
    if (!$("detail").hidden && selected !== null) go(`#request/${selected}`, true);
  } else if (event.key === "Enter" && selected !== null) go(`#request/${selected}`);
  else return;
  event.preventDefault();
}

// ---- what comes from the server

let source = null;

async function follow() {
  source?.close();
  const listed = await ask("/requests?limit=10000");
  arrived.push(...listed.requests.reverse());
  const undone = listed.requests.find((entry) => !entry.done); // the list is now the oldest first
  const newest = undone ? undone.id - 1 : (listed.requests.at(-1)?.id ?? 0);
  draw();
  source = new EventSource(`${API}/events?since=${newest}`);
  source.onopen = () => state("live");
  source.onerror = () => {
    state("the server is not there, trying again", true);
    if (source.readyState === EventSource.CLOSED) setTimeout(start, 1000);
  };
  source.addEventListener("request", (event) => {
    arrived.push(JSON.parse(event.data));
    if (arrived.length > MOST) arrived.splice(0, arrived.length - MOST);
    draw();
  });
  source.addEventListener("stats", (event) => drawStats(JSON.parse(event.data)));
}

async function start() {
  try {
    await follow();
  } catch (error) {
    state(error.message, true);
    setTimeout(start, 1000);
  }
}

function state(text, lost = false) {
  $("state").textContent = text;
  $("state").classList.toggle("lost", lost);
}

// ---- numbers and plots

const history = []; // the stats of the last seconds, oldest first
let lastTotal = 0;

function drawStats(stats) {
  if (stats.total < lastTotal) location.reload(); // another server is there now
  lastTotal = stats.total;
  history.push(stats);
  if (history.length > SECONDS) history.shift();
  drawCounts(stats);
  drawRate();
  drawLatency();
}

function drawCounts(stats) {
  const numbers = [["requests", stats.total], ...SOURCES.map((name) => [name, stats.sources[name] ?? 0])];
  numbers.push(["connections", stats.connections], ["recordings", stats.interactions]);
  if (stats.unplayed !== null && stats.interactions) numbers.push(["not played", stats.unplayed]);
  if (stats.missed) numbers.push(["not listed", stats.missed]);
  const always = new Set(["requests", "replayed", "dummy", "unmatched"]);
  const kept = numbers.filter(([name, value]) => value || always.has(name));
  const count = ([name, value]) => el("div", {}, el("dt", { textContent: name }), el("dd", { textContent: whole.format(value) }));
  $("counts").replaceChildren(...kept.map(count));
}

const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
const x = (index) => ((SECONDS - history.length + index) * 240) / SECONDS;

function drawRate() {
  const most = Math.max(1, ...history.map((stats) => sum(stats.recent)));
  const bars = [];
  history.forEach((stats, index) => {
    let bottom = 48;
    for (const name of SOURCES) {
      const height = ((stats.recent[name] ?? 0) * 46) / most;
      if (!height) continue;
      bottom -= height;
      bars.push(svg("rect", { class: name, x: x(index), y: bottom, width: 1.7, height }));
    }
  });
  $("rate").replaceChildren(...bars);
  $("rate-now").textContent = `${whole.format(sum(history.at(-1).recent))}, at most ${whole.format(most)}`;
}

function drawLatency() {
  const known = history.filter((stats) => stats.duration_ms);
  const most = Math.max(...known.map((stats) => stats.duration_ms.p99), 1e-9);
  const lines = ["p99", "p90", "p50"].map((name) => {
    const points = history.flatMap((stats, index) =>
      stats.duration_ms ? [`${x(index)},${47 - (stats.duration_ms[name] * 45) / most}`] : [],
    );
    return svg("polyline", { class: `line ${name}`, points: points.join(" ") });
  });
  $("latency").replaceChildren(...lines);
  const last = known.at(-1)?.duration_ms;
  $("latency-now").textContent = last ? `p50 ${milliseconds(last.p50)}, p99 ${milliseconds(last.p99)}` : "";
}

// ---- a conversation out of a request and its answer

/** Return the text of a message's content, whichever of its forms it has. */
function textOf(content) {
  if (content === null || content === undefined) return "";
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return pretty(content);
  return content.map(partText).join("\n");
}

function partText(part) {
  if (typeof part === "string") return part;
  if (typeof part !== "object" || part === null) return String(part);
  const kind = part.type ?? "";
  if (typeof part.text === "string") return part.text;
  if (typeof part.refusal === "string") return part.refusal;
  if (kind === "tool_result") return `[result of ${part.tool_use_id}] ${textOf(part.content)}`;
  if (kind === "tool_use") return `[call ${part.name}] ${pretty(part.input)}`;
  const size = JSON.stringify(part).length;
  return `[${kind || "part"}, ${bytes(size)}]`;
}

function turn(role, text, more = {}) {
  return { role: String(role ?? "?"), text, name: more.name ?? "", call: more.call ?? false };
}

function messageTurns(message) {
  if (typeof message !== "object" || message === null) return [turn("?", pretty(message))];
  const turns = [];
  const text = textOf(message.content);
  const thought = message.reasoning_content ?? message.reasoning;
  if (typeof thought === "string" && thought) turns.push(turn(message.role, thought, { name: "reasoning" }));
  const calls = [...(Array.isArray(message.tool_calls) ? message.tool_calls : [])];
  if (message.function_call) calls.push({ function: message.function_call });
  if (text || message.refusal || !calls.length) {
    turns.push(turn(message.role, text || (message.refusal ?? ""), { name: message.name ?? message.tool_call_id ?? "" }));
  }
  for (const call of calls) {
    const called = call?.function ?? call?.custom ?? {};
    turns.push(turn("call", String(called.arguments ?? called.input ?? ""), { name: called.name ?? "", call: true }));
  }
  return turns;
}

/** The turns of the request: chat messages, a prompt, or the input of /responses. */
function asked(body) {
  if (typeof body !== "object" || body === null) return [];
  const turns = [];
  if (body.instructions) turns.push(turn("system", textOf(body.instructions)));
  if (body.system) turns.push(turn("system", textOf(body.system)));
  if (Array.isArray(body.messages)) return turns.concat(body.messages.flatMap(messageTurns));
  const prompt = body.prompt ?? body.input;
  if (prompt === undefined) return turns;
  if (typeof prompt === "string") return [...turns, turn("user", prompt)];
  if (!Array.isArray(prompt)) return [...turns, turn("user", pretty(prompt))];
  return turns.concat(prompt.flatMap(inputTurns));
}

function inputTurns(item) {
  if (typeof item !== "object" || item === null) return [turn("user", String(item))];
  if (item.type === "function_call") return [turn("call", String(item.arguments ?? ""), { name: item.name, call: true })];
  if (item.type === "function_call_output") return [turn("tool", textOf(item.output), { name: item.call_id })];
  if (item.role) return messageTurns(item);
  return [turn(item.type ?? "user", partText(item))];
}

/** The turns of the answer. */
function answered(body) {
  if (typeof body !== "object" || body === null) return [];
  if (body.error) return [turn("error", body.error.message ?? pretty(body.error))];
  if (Array.isArray(body.choices)) {
    return body.choices.flatMap((choice) => (choice?.message ? messageTurns(choice.message) : [turn("assistant", String(choice?.text ?? ""))]));
  }
  if (Array.isArray(body.output)) return body.output.flatMap(outputTurns);
  if (Array.isArray(body.content)) return messageTurns(body);
  if (Array.isArray(body.data) && body.data[0]?.embedding) {
    const size = Array.isArray(body.data[0].embedding) ? `${body.data[0].embedding.length} numbers` : "base64";
    return [turn("assistant", `${body.data.length} embeddings, each ${size}`)];
  }
  return [];
}

function outputTurns(item) {
  if (item?.type === "function_call") return [turn("call", String(item.arguments ?? ""), { name: item.name, call: true })];
  if (item?.type === "reasoning") return [turn("assistant", textOf(item.summary), { name: "reasoning" })];
  return messageTurns({ role: "assistant", ...item });
}

/** Put the pieces of an event stream together. */
function streamed(events) {
  const parts = new Map();
  const add = (key, role, name, text) => {
    const part = parts.get(key) ?? turn(role, "", { name, call: role === "call" });
    part.text += text ?? "";
    part.name ||= name ?? "";
    parts.set(key, part);
  };
  for (const event of events) {
    const value = parsed(event.data);
    if (typeof value !== "object" || value === null) continue;
    if (value.error) add("error", "error", "", value.error.message ?? pretty(value.error));
    for (const choice of Array.isArray(value.choices) ? value.choices : []) addChoice(add, choice);
    addEvent(add, value);
  }
  return [...parts.values()].filter((part) => part.text || part.call);
}

function addChoice(add, choice) {
  const delta = choice?.delta ?? {};
  const index = choice?.index ?? 0;
  const thought = delta.reasoning_content ?? delta.reasoning;
  if (typeof thought === "string") add(`r${index}`, "assistant", "reasoning", thought);
  const text = choice?.text ?? delta.content ?? delta.refusal;
  if (typeof text === "string") add(`c${index}`, "assistant", "", text);
  for (const call of Array.isArray(delta.tool_calls) ? delta.tool_calls : []) {
    add(`t${index}.${call?.index ?? 0}`, "call", call?.function?.name, call?.function?.arguments);
  }
  if (delta.function_call) add(`f${index}`, "call", delta.function_call.name, delta.function_call.arguments);
}

/** Events of /responses, and Anthropic's. */
function addEvent(add, value) {
  const place = `${value.output_index ?? value.index ?? 0}`;
  if (value.type === "response.output_text.delta") add(`o${place}`, "assistant", "", value.delta);
  if (value.type === "response.output_item.added" && value.item?.type === "function_call") add(`o${place}`, "call", value.item.name, "");
  if (value.type === "response.function_call_arguments.delta") add(`o${place}`, "call", "", value.delta);
  if (value.type === "content_block_start" && value.content_block?.type === "tool_use") add(`b${place}`, "call", value.content_block.name, "");
  if (value.type === "content_block_delta") {
    const delta = value.delta ?? {};
    add(`b${place}`, delta.partial_json === undefined ? "assistant" : "call", "", delta.text ?? delta.partial_json ?? delta.thinking);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function conversation(found) {
  const turns = asked(found.request.json ?? parsed(found.request.body));
  const response = found.response;
  const events = response.events ?? eventsOf(response);
  const reply = events ? streamed(events) : answered(response.json ?? parsed(response.body));
  if (!turns.length && !reply.length) {
    return el("div", {}, el("h3", { textContent: "request" }), raw(found.request), el("h3", { textContent: "answer" }), raw(response));
  }
  return el("div", {}, turns.map(drawTurn), el("h3", { textContent: "answer" }), reply.length ? reply.map(drawTurn) : raw(response));
}

/** A recording's stream comes as it is stored; only the journal knows when its events went out. */
function eventsOf(response) {
  const kind = response.headers.find(([name]) => name.toLowerCase() === "content-type")?.[1] ?? "";
  if (!kind.toLowerCase().startsWith("text/event-stream")) return null;
  return response.body
    .split(/\r\n\r\n|\n\n|\r\r/)
    .filter(Boolean)
    .map((event) => ({
      at_ms: null,
      data: event.split(/\r\n|\n|\r/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n"),
    }));
}

function drawTurn(one) {
  const kind = ["assistant", "system", "developer", "user", "tool", "call"].includes(one.role) ? one.role : "";
  const who = one.name ? `${one.role}: ${one.name}` : one.role;
  return el("div", { className: `turn ${kind}` }, el("div", { className: "who", textContent: who }), el("p", { className: "said", textContent: one.text || "(nothing)" }));
}

// ---- one request, or one recording

function raw(message) {
  const value = message.json ?? undefined;
  return el("pre", { textContent: value === undefined ? message.body || "(no body)" : pretty(value) });
}

/** Facts of strangers beside ours: each stands for itself, whichever way its letters run. */
function facts(texts, ...more) {
  const parts = texts.filter(Boolean).flatMap((text, index) => (index ? [" · ", el("bdi", { textContent: text })] : [el("bdi", { textContent: text })]));
  return el("p", { className: "facts" }, parts, ...more);
}

function headerTable(headers) {
  const rows = headers.map(([name, value]) => el("tr", {}, el("th", { scope: "row", textContent: name }), el("td", { textContent: value })));
  return el("table", {}, el("tbody", {}, rows));
}

function eventLine(events) {
  const known = events.filter((event) => event.at_ms !== null);
  const last = Math.max(...known.map((event) => event.at_ms), 1e-9);
  const picture = svg("svg", { class: "events", viewBox: "0 0 1000 56", preserveAspectRatio: "none", role: "img", "aria-label": `When the ${events.length} events were sent` });
  for (const event of known) {
    const at = 2 + (event.at_ms * 996) / last;
    picture.append(svg("line", { x1: at, x2: at, y1: 8, y2: 48 }));
  }
  const rows = events.map((event, index) =>
    el("tr", {}, el("td", { className: "number", textContent: String(index + 1) }), el("td", { className: "number", textContent: milliseconds(event.at_ms) }), el("td", { textContent: event.data })),
  );
  const head = el("tr", {}, ["#", "sent after", "data"].map((text) => el("th", { scope: "col", textContent: text })));
  return el("div", {}, known.length ? picture : null, el("table", {}, el("thead", {}, head), el("tbody", {}, rows)));
}

function nearMisses(found) {
  const near = found.near_misses ?? [];
  if (!near.length) return el("p", { textContent: "No recording comes near this request." });
  return el(
    "div",
    {},
    near.map((miss) => {
      const link = el("a", { href: `#interaction/${encodeURIComponent(miss.cassette)}`, textContent: miss.cassette });
      const rows = miss.differences.map((one) =>
        el("tr", {}, el("td", { textContent: one.path }), el("td", { textContent: one.recorded }), el("td", { textContent: one.received })),
      );
      const head = el("tr", {}, ["differs at", "recorded", "received"].map((text) => el("th", { scope: "col", textContent: text })));
      const table = el("table", { className: "differences" }, el("thead", {}, head), el("tbody", {}, rows));
      return el("div", {}, el("h3", {}, link), rows.length ? table : el("p", { textContent: "Equal: every recording of it was played." }));
    }),
  );
}

/** Write a request as a command for a shell; what was redacted is left out. */
function asCurl(entry) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const dropped = new Set(["host", "content-length", "connection", "accept-encoding", "transfer-encoding", "expect"]);
  const parts = ["curl", quote(location.origin + entry.path)];
  if (entry.method !== "GET") parts.push("-X", quote(entry.method));
  for (const [name, value] of entry.request.headers) {
    if (!dropped.has(name.toLowerCase()) && value !== "REDACTED") parts.push("-H", quote(`${name}: ${value}`));
  }
  if (entry.request.body) parts.push("--data-binary", quote(entry.request.body));
  return parts.join(" ");
}

function tabs(views) {
  const names = Object.keys(views);
  const body = el("div", { role: "tabpanel", tabIndex: 0 });
  const buttons = names.map((name) => el("button", { type: "button", role: "tab", textContent: name }));
  const choose = (index, focus) => {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === index));
      button.tabIndex = i === index ? 0 : -1;
    });
    body.setAttribute("aria-label", names[index]);
    body.replaceChildren(views[names[index]]());
    if (focus) buttons[index].focus();
  };
  buttons.forEach((button, index) => {
    button.addEventListener("click", () => choose(index));
    button.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by) choose((index + by + names.length) % names.length, true);
    });
  });
  choose(0);
  return [el("div", { className: "tabs", role: "tablist" }, buttons), body];
}

function notice(text) {
  return el("p", { className: "notice", role: "status", textContent: text });
}

function button(text, act) {
  const made = el("button", { type: "button", textContent: text });
  made.addEventListener("click", async () => {
    try {
      const said = await act();
      if (said) made.closest("#detail")?.querySelector(".actions")?.after(notice(said));
    } catch (error) {
      made.closest("#detail")?.querySelector(".actions")?.after(notice(error.message));
    }
  });
  return made;
}

async function copied(text) {
  await navigator.clipboard.writeText(text);
  return "Copied.";
}

function drawRequest(entry) {
  const said = [clock(entry.time), String(entry.status), entry.model, entry.stream ? "stream" : null];
  said.push(`first byte ${milliseconds(entry.ttfb_ms)}`, `all ${milliseconds(entry.duration_ms)}`, `${bytes(entry.request_bytes)} in, ${bytes(entry.response_bytes)} out`);
  if (entry.tokens) said.push(`${tokens(entry)} tokens`);
  const views = {};
  if (entry.source === "unmatched") views["Nearest recordings"] = () => nearMisses(entry);
  views.Conversation = () => conversation(entry);
  views["Request JSON"] = () => raw(entry.request);
  views["Answer JSON"] = () => raw(entry.response);
  if (entry.response.events) views.Events = () => eventLine(entry.response.events);
  views.Headers = () => el("div", {}, el("h3", { textContent: "request" }), headerTable(entry.request.headers), el("h3", { textContent: "answer" }), headerTable(entry.response.headers));
  const actions = [button("Copy as curl", () => copied(asCurl(entry)))];
  if (entry.source === "unmatched" || entry.source === "dummy") {
    actions.push(button("Record this next time", async () => {
      await ask(`/requests/${entry.id}/record-next`, "POST");
      return "The next request like this one goes to the upstream, and its answer is kept.";
    }));
  }
  const links = [];
  if (entry.cassette) links.push("played ", el("a", { dir: "auto", href: `#interaction/${encodeURIComponent(entry.cassette)}`, textContent: entry.cassette }));
  return [
    top(el("h2", {}, badge(entry.source), ` ${entry.method} ${entry.path}`)),
    facts(said, links.length ? [" · ", ...links] : null),
    entry.fault ? notice(`fault: ${entry.fault}`) : null,
    entry.note ? notice(entry.note) : null,
    entry.drift.length ? notice(`drifted, the recording differs at ${entry.drift.join(", ")}`) : null,
    el("div", { className: "actions" }, actions),
    ...tabs(views),
  ];
}

function drawInteraction(found) {
  const said = [found.host, String(found.status), found.model, found.stream ? "stream" : null, bytes(found.size), `played ${found.played} times`];
  const events = eventsOf(found.response);
  const views = { Conversation: () => conversation(found), "Request JSON": () => raw(found.request), "Answer JSON": () => raw(found.response) };
  if (events) views.Events = () => eventLine(events);
  views.Headers = () => el("div", {}, el("h3", { textContent: "request" }), headerTable(found.request.headers), el("h3", { textContent: "answer" }), headerTable(found.response.headers));
  return [
    top(el("h2", { textContent: `${found.method} ${found.path}` })),
    facts([found.id, ...said]),
    el("div", { className: "actions" }, downloadLink(found.name, "Download the cassette")),
    ...tabs(views),
  ];
}

function top(title) {
  const close = el("button", { type: "button", textContent: "Close", "aria-label": "Close the details" });
  close.addEventListener("click", closeDetail);
  return el("div", { className: "top" }, title, close);
}

function downloadLink(name, text) {
  return el("a", { href: `${API}/cassettes/${encodeURIComponent(name)}/file`, download: "", textContent: text });
}

async function openDetail(path, drawn) {
  const detail = $("detail");
  let content;
  try {
    content = drawn(await ask(path));
  } catch (error) {
    content = [top(el("h2", { textContent: "Not there" })), notice(error.message)];
  }
  detail.replaceChildren(...content.filter(Boolean));
  detail.scrollTop = 0;
  detail.hidden = false;
}

function closeDetail() {
  go(location.hash.startsWith("#interaction") ? "#cassettes" : "#requests");
  if (!$("requests-view").hidden) $("list").focus();
}

// ---- cassettes

let listedInteractions = 0;

async function drawFiles() {
  const { cassettes } = await ask("/cassettes");
  if (!cassettes.length) {
    $("files").replaceChildren(el("p", { textContent: "No cassettes are served: every answer is the dummy's. Start the server with a cassette or a folder of them." }));
    return;
  }
  const names = ["cassette", "interactions", "played", "size", "problems", ""];
  const head = el("tr", {}, names.map((text, i) => el("th", { scope: "col", className: i > 0 && i < 4 ? "number" : "", textContent: text })));
  const rows = cassettes.map((file) => {
    const only = el("button", { type: "button", className: "link", textContent: file.file });
    only.addEventListener("click", () => drawInteractions(file.name));
    const number = (value) => el("td", { className: "number", textContent: whole.format(value) });
    return el("tr", {}, el("td", {}, only), number(file.interactions), number(file.played), el("td", { className: "number", textContent: bytes(file.size) }), el("td", { textContent: file.problems.join("; ") }), el("td", {}, downloadLink(file.name, "Download")));
  });
  $("files").replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, rows)));
}

let onlyFile = "";

async function drawInteractions(file = "", more = false) {
  onlyFile = file;
  if (!more) listedInteractions = 0;
  const query = new URLSearchParams({ limit: "200", offset: String(listedInteractions) });
  if (file) query.set("file", file);
  if ($("interaction-search").value) query.set("q", $("interaction-search").value);
  if ($("played").value) query.set("played", $("played").value);
  const found = await ask(`/interactions?${query}`);
  listedInteractions += found.interactions.length;
  const rows = found.interactions.map(interactionRow);
  const body = more ? $("interactions").querySelector("tbody") : el("tbody");
  body.append(...rows);
  if (!more) {
    const names = ["recording", "request", "model", "status", "played", "size"];
    const head = el("tr", {}, names.map((text, i) => el("th", { scope: "col", className: i > 2 ? "number" : "", textContent: text })));
    $("interactions").replaceChildren(el("table", {}, el("thead", {}, head), body));
  }
  $("interactions").querySelector(".more")?.remove();
  if (listedInteractions < found.meta.total) {
    const next = el("button", { type: "button", className: "more", textContent: "Show more" });
    next.addEventListener("click", () => drawInteractions(file, true));
    $("interactions").append(next);
  }
  $("interactions-shown").textContent = `${whole.format(listedInteractions)} of ${whole.format(found.meta.total)}${file ? ` in ${file}` : ""}`;
}

function interactionRow(found) {
  const number = (value) => el("td", { className: "number", textContent: String(value) });
  const link = el("a", { href: `#interaction/${encodeURIComponent(found.id)}`, textContent: found.id });
  return el("tr", {}, el("td", {}, link), el("td", { textContent: `${found.method} ${found.path}` }), el("td", { textContent: found.model ?? "" }), number(found.status), number(found.played), number(bytes(found.size)));
}

// ---- where we are: the address says it, so that links and the back button work

function go(hash, replace = false) {
  if (replace) {
    window.history.replaceState(null, "", hash);
    arrive();
  } else if (location.hash === hash) arrive();
  else location.hash = hash;
}

async function arrive() {
  const [, view, rest] = /^#([a-z]*)\/?(.*)$/.exec(location.hash) ?? [null, "requests", ""];
  const cassettes = view === "cassettes" || view === "interaction";
  const changed = $("cassettes-view").hidden === cassettes;
  $("requests-view").hidden = cassettes;
  $("cassettes-view").hidden = !cassettes;
  for (const [id, here] of [["to-requests", !cassettes], ["to-cassettes", cassettes]]) {
    if (here) $(id).setAttribute("aria-current", "page");
    else $(id).removeAttribute("aria-current");
  }
  if (view === "request" && rest) {
    selected = Number(rest);
    await openDetail(`/requests/${encodeURIComponent(rest)}`, drawRequest);
  } else if (view === "interaction" && rest) await openDetail(`/interactions/${rest}`, drawInteraction);
  else $("detail").hidden = true;
  if (cassettes && (changed || view === "cassettes")) await Promise.all([drawFiles(), drawInteractions(onlyFile)]).catch((error) => state(error.message, true));
  draw();
}

// ---- what the person does

async function searchBodies() {
  const text = $("search").value.trim();
  inBodies = null;
  if ($("in-bodies").checked && text) {
    try {
      const found = await ask(`/requests?limit=10000&q=${encodeURIComponent(text)}`);
      if (text === $("search").value.trim()) inBodies = new Set(found.requests.map((entry) => entry.id));
    } catch (error) {
      state(error.message, true);
    }
  }
  refilter();
}

function later(act, wait = 250) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
}

function togglePause() {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  draw();
}

async function forgetAll() {
  await ask("/requests", "DELETE");
  entries = [];
  shown = [];
  arrived = [];
  byId.clear();
  go("#requests");
  draw();
}

function listen() {
  for (const name of SOURCES) {
    const made = el("button", { type: "button", className: `badge ${name}`, textContent: name, "aria-pressed": "true" });
    made.addEventListener("click", () => {
      const on = !wanted.sources.has(name);
      if (on) wanted.sources.add(name);
      else wanted.sources.delete(name);
      made.setAttribute("aria-pressed", String(on));
      refilter();
    });
    $("sources").append(made);
  }
  const bodies = later(searchBodies);
  $("search").addEventListener("input", () => {
    wanted.text = $("search").value.trim().toLowerCase();
    inBodies = null;
    refilter();
    if ($("in-bodies").checked) bodies();
  });
  $("in-bodies").addEventListener("change", searchBodies);
  $("status").addEventListener("change", () => {
    wanted.status = $("status").value;
    refilter();
  });
  $("pause").addEventListener("click", togglePause);
  $("clear").addEventListener("click", () => forgetAll().catch((error) => state(error.message, true)));
  $("list").addEventListener("scroll", draw, { passive: true });
  $("list").addEventListener("keydown", listKey);
  $("list").addEventListener("focus", () => selected === null && step(0));
  const again = later(() => drawInteractions(onlyFile).catch((error) => state(error.message, true)));
  $("interaction-search").addEventListener("input", again);
  $("played").addEventListener("change", again);
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", pageKey);
  addEventListener("hashchange", arrive);
  addEventListener("resize", draw);
}

function pageKey(event) {
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key === "Escape" && !$("detail").hidden) closeDetail();
  else if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  else if (event.key === "/") ($("cassettes-view").hidden ? $("search") : $("interaction-search")).focus();
  else if (event.key === "p") togglePause();
  else return;
  event.preventDefault();
}

listen();
arrive();
start();
