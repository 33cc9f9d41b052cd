"use strict";
// The page of a node. It shows what /cluster?all says, uploads, lists, shows and deletes images, and goes to another node
// when the one that serves it does not answer. What comes from nodes and people is text, and never markup.

const POLL_MS = 500, POLL_LIVELY_MS = 250, POLL_NODE_MS = 50, POLL_HIDDEN_MS = 5000, POLL_TIME_MAX_MS = 2500, LIVELY_MS = 6000;
const PROBE_TIME_MAX_MS = 1500, PREFER_OWN_MS = 300;
const CHART_MS = 5 * 60 * 1000, CHART_STEP_MS = 2000, RATE_MS = 3000, LATENCY_MS = 60 * 1000;
const UPLOADS_AT_ONCE = 3, UPLOAD_TRIES_MAX = 8, UPLOAD_ENTRIES_MAX = 300, SAID_UPLOADS_MAX = 5;
const PAGE_IMAGES = 48, THUMBS_AT_ONCE = 3, THUMB_BYTES_MAX = 16e6, THUMB_PIXELS_MAX = 60e6, THUMB_EDGE = 320;
const PNG_SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

const $ = (id) => document.getElementById(id);
const page = document.documentElement.dataset;
const origins = page.origins.split(" ").filter(Boolean).map((entry) => {
  const [id, base] = entry.split(/=(.*)/s);
  return { id: Number(id), base };
});

/** An element with attributes, listeners (`onclick`), and children, which are elements or text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}
function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
/** Writes only what has changed, so that a screen reader is not told the same again. */
function write(element, text) { if (element.textContent !== text) element.textContent = text; }
/** Rows of a list by key: those that stay keep their element, and with it the focus. */
function keep(list, keys, create) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  keys.forEach((key, at) => {
    let child = known.get(key);
    if (!child) { child = create(key); child.dataset.key = key; }
    known.delete(key);
    if (list.children[at] !== child) list.insertBefore(child, list.children[at] ?? null);
  });
  known.forEach((child) => child.remove());
}
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const say = (text) => { $("said").textContent = text; };

// ---- how things are written

const plural = (count, one, many = one + "s") => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
function bytes(count) {
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (count < 999.5 || unit === "TB") return `${count < 9.95 && unit !== "B" ? count.toFixed(1) : Math.round(count)} ${unit}`;
    count /= 1000;
  }
}
const number = (value) => value >= 9.95 || value === 0 ? Math.round(value).toLocaleString("en") : value.toFixed(1);
function seconds(s) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = Math.max(parts.findIndex(([size]) => s >= size), 0);
  if (s < 1) return "0 s";
  return parts.slice(first, first + 2).map(([size, unit], at) => `${Math.floor((at ? s % parts[first][0] : s) / size)} ${unit}`)
    .filter((part, at) => !at || !part.startsWith("0")).join(" ");
}
const milliseconds = (s) => s == null ? "–" : s < 0.0995 ? `${(s * 1000).toFixed(1)} ms` : s < 0.9995 ? `${Math.round(s * 1000)} ms` : `${s.toFixed(1)} s`;
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
// Swedes write dates as ISO 8601 does.
const day = (ms) => new Date(ms).toLocaleString("sv-SE", { dateStyle: "short", timeStyle: "short" });
const names = (ids) => ids.map((id) => `node ${id}`).join(", ").replace(/, ([^,]*)$/, " and $1");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// ---- who is asking: kept in this tab for the session

const session = {
  get: (key) => { try { return sessionStorage.getItem("pixseal." + key) ?? ""; } catch { return ""; } },
  set: (key, value) => { try { sessionStorage.setItem("pixseal." + key, value); } catch { /* for this page only, then */ } },
};
let token = session.get("token"), user = session.get("user");
const isLocal = ["localhost", "[::1]"].includes(location.hostname) || location.hostname.startsWith("127.");

/** Behind a proxy with one name for all nodes, each answer may come from another one. */
const isDirect = origins.some(({ base }) => {
  const { hostname, port, origin } = new URL(base);
  return origin === location.origin || isLocal && port === location.port && hostname.startsWith("127.");
});

const authorization = () => token ? { Authorization: `Bearer ${token}` } : {};
function ask(method, target, more = {}) {
  return fetch(target, { method, cache: "no-store", redirect: "error", ...more, headers: { ...authorization(), ...more.headers } });
}
const pathOf = (name) => `/images/${encodeURIComponent(user)}/${encodeURIComponent(name)}?relay`;
/** What is told of a refusal: the node's own sentence. A proxy sends a page, which is not shown. */
function refusal(text, status) {
  const told = text.trim();
  return told && !told.startsWith("<") ? told.slice(0, 400) : `The answer was ${status}.`;
}
async function sentence(response) {
  return refusal(await response.text().catch(() => ""), response.status);
}

function askToken(why) {
  if ($("token-dialog").open) return;
  write($("token-why"), why ?? "It is kept for this session only, in this tab.");
  $("token-user").value = user;
  $("token").value = "";
  $("token-dialog").showModal();
  (user ? $("token") : $("token-user")).focus();
}
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  session.set("token", token);
  $("token").value = "";
  $("token-dialog").close();
  if ($("token-user").value.trim()) setUser($("token-user").value.trim());
  showAccess();
  pollSoon();
});
$("token-cancel").addEventListener("click", () => $("token-dialog").close());
$("sign-in").addEventListener("click", () => {
  if (!token) return askToken();
  token = "";
  session.set("token", "");
  cluster = null;
  showAccess();
  showGallery();
  say("The token was forgotten.");
  askToken();
});
function showAccess() {
  const needs = page.access === "tokens";
  $("access").hidden = needs;
  write($("access"), "⚠ No tokens: open to everybody who can connect");
  $("sign-in").hidden = !needs;
  write($("sign-in"), token ? "Forget the token" : "Show a token");
  if (location.protocol === "http:" && !isLocal) {
    notice("clear", "", "What travels between this page and the node can be read on the way" + (needs ? ", the token too." : "."));
  }
}

// ---- notices: what a person has to know; each has a key, and is there once

function notice(key, kind, text, isClosable = false) {
  const known = [...$("notices").children].find((entry) => entry.dataset.key === key);
  if (known) return write(known.querySelector("p"), text);
  const entry = make("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" },
    make("span", { class: "sign", "aria-hidden": "true" }, kind === "plain" ? "ℹ" : "⚠"), make("p", {}, text));
  if (isClosable) entry.append(make("button", { type: "button", class: "quiet", onclick: () => entry.remove() }, "Close"));
  entry.dataset.key = key;
  $("notices").append(entry);
}
function unnotice(isGone) {
  for (const entry of [...$("notices").children]) if (isGone(entry.dataset.key)) entry.remove();
}

// ---- the cluster: asked again and again

let cluster = null, livelyUntil = 0, pollTimer = 0, polling = null;
const seen = { leader: undefined, states: new Map() };
const ownEvents = [];

function pollSoon() { clearTimeout(pollTimer); pollTimer = setTimeout(poll, 0); }
async function poll() {
  clearTimeout(pollTimer);
  if (polling) return polling;
  polling = pollOnce();
  const after = await polling;
  polling = null;
  const often = Date.now() < livelyUntil ? POLL_LIVELY_MS : POLL_MS;
  const usual = document.hidden ? POLL_HIDDEN_MS : Math.max(often, POLL_NODE_MS * (cluster?.nodes.length ?? 0));
  pollTimer = setTimeout(poll, after ?? usual);
}
/** Returns when to ask again, if that is not as usual. */
async function pollOnce() {
  if (page.access === "tokens" && !token) {
    write($("summary"), "This cluster asks for a token.");
    askToken();
    return 1000;
  }
  const shown = token;
  let response, state;
  try {
    response = await ask("GET", "/cluster?all", { signal: AbortSignal.timeout(POLL_TIME_MAX_MS) });
    if (response.ok) state = await response.json();
  } catch {
    return lost();
  }
  // A proxy in front of the node says that it is gone.
  if ([502, 504].includes(response.status)) return lost();
  unnotice((key) => key === "lost");
  if (response.status === 401 && shown === token) {
    page.access = "tokens";
    const why = await sentence(response);
    const had = token;
    token = "";
    session.set("token", "");
    showAccess();
    askToken(had ? why : undefined);
    return 1000;
  }
  if (!state) {
    write($("summary"), await sentence(response));
    return 1000 * (Number(response.headers.get("retry-after")) || 1);
  }
  const isFirst = !cluster;
  cluster = state;
  note(state);
  show(state);
  if (isFirst && user) openGallery();
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) pollSoon(); });

/** The node that serves this page did not answer: stays if it does now, and goes to another one if that does. */
async function lost() {
  const own = Number(page.node);
  notice("lost", "bad", `Node ${own}, which serves this page, does not answer. Looking for another one …`);
  write($("serving"), `✕ node ${own} does not answer`);
  const probe = async (base) => {
    const options = { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PROBE_TIME_MAX_MS) };
    if (!(await fetch(base + "/healthz", options)).ok) throw new Error("not there");
  };
  const isThere = probe("").then(() => true, () => false);
  const others = origins.filter(({ base }) => base !== location.origin && base.startsWith(location.protocol));
  const found = Promise.any(others.map((other) => probe(other.base).then(() => other))).catch(() => null);
  if (await Promise.race([isThere, wait(PREFER_OWN_MS)])) return POLL_MS;
  const other = await found;
  if (await Promise.race([isThere, wait(0)])) return POLL_MS;
  if (!other) {
    notice("lost", "bad", "No node answers. Asking again and again …");
    return 1000;
  }
  const unfinished = uploads.filter((upload) => !upload.isOver()).map((upload) => upload.name);
  const luggage = new URLSearchParams({ moved: own, user, token, unfinished: unfinished.slice(0, 50).join("/") });
  location.replace(`${other.base}/#${luggage}`);
  return 5000;
}

/** What another node's page gave along is taken out of the address at once. */
function arrive() {
  const luggage = new URLSearchParams(location.hash.slice(1));
  if (!luggage.has("moved") && !luggage.has("user")) return;
  history.replaceState(null, "", location.pathname);
  if (luggage.get("token")) { token = luggage.get("token"); session.set("token", token); }
  if (luggage.get("user")) { user = luggage.get("user"); session.set("user", user); }
  if (!luggage.has("moved")) return;
  livelyUntil = Date.now() + LIVELY_MS;
  const from = Number(luggage.get("moved"));
  const text = `Node ${from}, which served this page, does not answer. You are on node ${page.node} now.`;
  notice("moved", "plain", text, true);
  ownEvents.unshift({ unix_ms: Date.now(), text: `This page moved from node ${from}, which did not answer, to node ${page.node}` });
  say(text);
  const unfinished = (luggage.get("unfinished") ?? "").split("/").filter(Boolean);
  if (unfinished.length) {
    notice("unfinished", "", `Not uploaded, since the node was gone: ${unfinished.join(", ")}. Choose them again.`, true);
  }
}

// ---- what the nodes are

const STATES = {
  alive: ["", "●", "alive"], suspect: ["warn", "◐", "suspect"], dead: ["bad", "✕", "dead"], left: ["off", "○", "left"],
  apart: ["bad", "≠", "apart"], unknown: ["off", "?", "never heard"], draining: ["warn", "↓", "draining"], full: ["warn", "■", "full"],
  unable: ["bad", "!", "takes no images"], joining: ["warn", "…", "joining"],
};
const statusOf = (state, id) => state.nodes.find((status) => status.node === id);
/** Whose view of the others is shown: that of the node that serves this page. */
const viewOf = (state) => isDirect ? statusOf(state, state.node) : state.nodes[0];
function membersOf(state) {
  const own = viewOf(state);
  const places = new Map([[own.node, own], ...own.peers.map((peer) => [peer.id, peer])]);
  return [...places].sort(([a], [b]) => a - b).map(([id, place]) => ({ id, where: place.url ?? place.address }));
}
function stateOf(state, id) {
  const own = viewOf(state), status = statusOf(state, id);
  const heard = own.peers.find((peer) => peer.id === id)?.state ?? "";
  const isInView = own.alive.includes(id) || own.reading.includes(id);
  if (!status) {
    if (["dead", "left", "apart", "unknown"].includes(heard)) return heard;
    return isInView ? "suspect" : "dead";
  }
  if (heard === "apart") return heard;
  const condition = status.condition || "able";
  if (condition === "draining") return "draining";
  if (condition === "disk full") return "full";
  if (condition !== "able") return "unable";
  if (heard === "suspect") return heard;
  return isInView ? "alive" : "joining";
}

/** Keeps what rates are made of, and tells what has changed. */
const samples = [];
function note(state) {
  const now = Date.now();
  const counters = new Map(state.nodes.map((status) => [status.node, { ...status.counters, durations: status.upload_durations }]));
  samples.push({ at: now, counters });
  while (samples[0].at < now - CHART_MS - CHART_STEP_MS) samples.shift();
  const changes = [];
  const own = viewOf(state);
  if (seen.leader !== undefined && seen.leader !== own.leader) {
    changes.push(own.leader == null ? "No node leads at the moment." : `Node ${own.leader} leads now.`);
  }
  seen.leader = own.leader;
  for (const { id } of membersOf(state)) {
    const now = stateOf(state, id), before = seen.states.get(id);
    if (before && before !== now) changes.push(`Node ${id} is ${STATES[now][2]}.`);
    seen.states.set(id, now);
  }
  if (!changes.length) return;
  livelyUntil = now + LIVELY_MS;
  say(changes.join(" "));
  for (const text of changes) ownEvents.unshift({ unix_ms: now, text: text.slice(0, -1), isSeen: true });
  ownEvents.length = Math.min(ownEvents.length, 64);
}

/** The growth of a counter of a node between two samples; a node that started anew began at zero. */
function growth(from, to, id, name) {
  const before = from.counters.get(id)?.[name], after = to.counters.get(id)?.[name];
  if (before == null || after == null) return 0;
  return after >= before ? after - before : after;
}
function rate(id, name) {
  const last = samples.at(-1);
  const first = samples.find((sample) => sample.at >= last.at - RATE_MS);
  const ms = last.at - first.at;
  return ms > 0 ? 1000 * growth(first, last, id, name) / ms : 0;
}
/** Quantiles of the last minute, from how the histogram has grown, as seconds; none without uploads. */
function latency(id, quantiles) {
  const last = samples.at(-1), now = last.counters.get(id)?.durations;
  if (!now?.counts) return null;
  const first = samples.find((sample) => sample.at >= last.at - LATENCY_MS);
  if (first === last) return null;
  const then = first.counters.get(id)?.durations;
  const isSameLife = then?.counts?.length && then.count <= now.count;
  const counts = now.counts.map((count, at) => count - (isSameLife ? then.counts[at] : 0));
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (!total) return null;
  return quantiles.map((quantile) => {
    let below = 0;
    for (const [at, count] of counts.entries()) {
      if (count && below + count >= quantile * total) {
        const low = at ? now.bounds[at - 1] : 0, high = now.bounds[at] ?? low;
        return low + (high - low) * (quantile * total - below) / count;
      }
      below += count;
    }
    return now.bounds.at(-1);
  });
}

function show(state) {
  $("main").hidden = false;
  const own = viewOf(state);
  page.node = state.node;
  write($("serving"), isDirect ? `● served by node ${state.node}` : `● through ${location.host}`);
  const all = membersOf(state), states = all.map(({ id }) => stateOf(state, id));
  const there = states.filter((word) => !["dead", "left", "apart", "unknown", "suspect"].includes(word)).length;
  const leads = own.leader == null ? "no node leads" : `node ${own.leader} leads`;
  const settled = own.settled ? ", every image is in its place" : own.misplaced ? `, ${plural(own.misplaced, "image")} to be moved` : "";
  write($("summary"), `${there} of ${plural(all.length, "node")} answer${there === 1 ? "s" : ""}, ${leads}${own.access ? settled : ""}`);
  document.title = `${there === all.length ? "" : `(${there}/${all.length}) `}pixseal`;
  drawIcon(there === all.length ? "#176f31" : "#b02018");
  showWarnings(state);
  showCards(state, all);
  showLoad(state);
  showCharts();
  showEvents(own);
}
/** The icon of the tab: a policy without `data:` leaves blobs, and a browser may fetch one late, so each is kept. */
const icons = new Map();
function drawIcon(colour) {
  const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="${colour}"/><path d="M4 8.5l3 3 5-7" fill="none" stroke="#fff" stroke-width="2"/></svg>`;
  const link = document.querySelector("link[rel=icon]") ?? document.head.appendChild(make("link", { rel: "icon", type: "image/svg+xml" }));
  if (!icons.has(colour)) icons.set(colour, URL.createObjectURL(new Blob([icon], { type: "image/svg+xml" })));
  if (link.href !== icons.get(colour)) link.href = icons.get(colour);
}
function showWarnings(state) {
  const texts = new Set(state.nodes.flatMap((status) => status.warnings));
  for (const text of texts) notice("warning " + text, "", text);
  unnotice((key) => key.startsWith("warning ") && !texts.has(key.slice(8)));
}

function showCards(state, all) {
  keep($("cards"), all.map(({ id }) => String(id)), () => make("li", { class: "card" },
    make("div", { class: "title" }, make("h3"), make("span", { class: "badge" }), make("span", { class: "badge lead" }, "★ leader")),
    make("p", { class: "muted where" }), make("dl")));
  for (const [at, { id, where }] of all.entries()) {
    const card = $("cards").children[at], status = statusOf(state, id), word = stateOf(state, id);
    const [kind, sign, text] = STATES[word];
    card.className = `card ${kind}`;
    card.dataset.state = word;
    const [title, badge, lead] = card.firstChild.children;
    write(title, `Node ${id}`);
    badge.className = `badge ${kind}`;
    write(badge, `${sign} ${text}`);
    lead.hidden = viewOf(state).leader !== id;
    write(card.children[1], where);
    showFacts(card.lastChild, status ? facts(status, word) : absence(state, id), status?.disk);
  }
}
function absence(state, id) {
  const peer = viewOf(state).peers.find((peer) => peer.id === id);
  return peer?.last_heard_ms == null ? [] : [["Heard", `${seconds(peer.last_heard_ms / 1000)} ago`]];
}
function facts(status, word) {
  if (!status.access) return status.ready ? [["Uploads", "taken"]] : [["Uploads", "not taken at present"]];
  const [p50, p99] = latency(status.node, [0.5, 0.99]) ?? [];
  const found = [
    ["Images counted", status.images_held == null ? "not yet" : status.images_held.toLocaleString("en")],
    ["Bytes held", status.bytes_held == null ? null : bytes(status.bytes_held)],
    ["Uploads taken", status.counters.images.toLocaleString("en")],
    ["Bytes taken", bytes(status.counters.bytes)],
    ["Uploads/s", number(rate(status.node, "images"))],
    ["Latency p50, p99", !status.upload_durations?.counts?.length ? null : p50 == null ? "no uploads lately" : `${milliseconds(p50)}, ${milliseconds(p99)}`],
    ["Up for", status.started_unix_ms ? seconds(Math.max(Date.now() - status.started_unix_ms, 0) / 1000) : null],
    ["Memory", status.process?.rss_bytes ? bytes(status.process.rss_bytes) : null],
    ["Uploads failed", status.counters.uploads_failed ? status.counters.uploads_failed.toLocaleString("en") : null],
    ["Condition", word === "unable" || word === "full" ? status.condition : null],
    ["Durability", status.durability === "rename" ? "rename only" : null],
  ];
  return found.filter(([, value]) => value != null);
}
function showFacts(list, found, disk) {
  keep(list, [...found.map(([name]) => name), ...(disk ? ["disk"] : [])], (key) => key === "disk"
    ? make("div", { class: "wide" }, make("dt", {}, "Disk"), make("dd"), make("span", { class: "bar", "aria-hidden": "true" }, make("span")))
    : make("div", {}, make("dt", {}, key), make("dd")));
  found.forEach(([, value], at) => write(list.children[at].lastChild, value));
  if (!disk) return;
  const [, text, bar] = list.lastChild.children, used = 1 - disk.free_bytes / disk.total_bytes;
  write(text, `${bytes(disk.free_bytes)} free of ${bytes(disk.total_bytes)}`);
  bar.classList.toggle("warn", used > 0.9);
  bar.firstChild.style.width = `${100 * used}%`;
}

// ---- how evenly images are spread

const GRADES = [[1, "Perfect balance", "σ < 1 %"], [5, "Excellent balance", "σ < 5 %"], [10, "Good balance", "σ < 10 %"],
  [15, "Acceptable balance", "σ < 15 %"], [Infinity, "Poor balance", "σ ≥ 15 %"]];
const LOADS = { held: (status) => status.images_held, uploads: (status) => status.counters?.images, bytes: (status) => status.bytes_held };
$("load-by").addEventListener("change", () => { if (cluster) showLoad(cluster); });
function showLoad(state) {
  const by = $("load-by").value, count = LOADS[by];
  const known = state.nodes.map((status) => [status.node, status.access ? count(status) : null]).filter(([, load]) => load != null);
  const total = known.reduce((sum, [, load]) => sum + load, 0);
  keep($("load"), known.map(([id]) => String(id)), () => make("li", {}, make("span"),
    make("span", { class: "bar", "aria-hidden": "true" }, make("span")), make("span", { class: "share" }), make("span", { class: "count" })));
  for (const [at, [id, load]] of known.entries()) {
    const [name, bar, share, text] = $("load").children[at].children;
    const percent = total ? 100 * load / total : 0;
    write(name, `Node ${id}`);
    bar.firstChild.style.width = `${percent}%`;
    write(share, `${percent.toFixed(1)} %`);
    write(text, by === "bytes" ? bytes(load) : plural(load, by === "held" ? "image" : "upload"));
  }
  if (!total) {
    write($("grade"), "");
    return write($("load-note"), known.length ? "Nothing to compare yet." : "Not told: this needs an admin's token, or nodes that tell it.");
  }
  const sigma = Math.sqrt(known.reduce((sum, [, load]) => sum + (100 * load / total - 100 / known.length) ** 2, 0) / known.length);
  const [, grade, bound] = GRADES.find(([below]) => sigma < below);
  write($("grade"), `${sigma < 5 ? "✓" : sigma < 15 ? "~" : "✕"} ${grade}: σ = ${sigma.toFixed(2)} % (${bound})`.replaceAll(/([σ<≥=]) | (?=%)/g, "$1\u00a0"));
  // As docs/stress_test.md says: the mean of a chi distribution with one degree of freedom less than there are nodes.
  const mean = by === "bytes" || known.length < 2 ? null
    : 100 * Math.sqrt((1 - 1 / known.length) / known.length / total) * Math.sqrt((known.length - 1.5) / (known.length - 1));
  const away = state.missing.length ? ` Without ${names(state.missing)}.` : "";
  const counted = by === "uploads" ? "" : " Nodes count that once a minute.";
  write($("load-note"), (mean ? `Of ${total.toLocaleString("en")}, a uniform hash gives about ${mean.toFixed(mean < 1 ? 2 : 1)} %.` : "") + counted + away);
}

// ---- throughput, drawn

const CHARTS = [
  { name: "images", title: "Uploads a second", text: number },
  { name: "bytes", title: "Taken in, a second", text: bytes },
  { name: "bytes_sent", title: "Sent, a second", text: bytes },
];
for (const chart of CHARTS) {
  chart.now = make("b");
  chart.area = svg("path", { class: "area" });
  chart.line = svg("path", { class: "line" });
  chart.most = make("span");
  chart.drawing = svg("svg", { class: "chart", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" });
  chart.drawing.append(chart.area, chart.line);
  $("charts").append(make("figure", {}, make("figcaption", {}, chart.title, chart.now), chart.drawing,
    make("div", { class: "axis", "aria-hidden": "true" }, make("span", {}, "5 min ago"), chart.most, make("span", {}, "now"))));
}
/** The rate of all nodes in each step, oldest first; nothing where nobody was watching. */
function series(name) {
  const last = samples.at(-1).at, steps = CHART_MS / CHART_STEP_MS;
  const sums = new Array(steps).fill(null);
  for (let at = 1; at < samples.length; at++) {
    const [from, to] = [samples[at - 1], samples[at]];
    const step = steps - 1 - Math.floor((last - to.at) / CHART_STEP_MS);
    if (step < 0) continue;
    let grown = 0;
    for (const id of to.counters.keys()) grown += growth(from, to, id, name);
    sums[step] ??= { grown: 0, ms: 0 };
    sums[step].grown += grown;
    sums[step].ms += to.at - from.at;
  }
  return sums.map((sum) => sum && sum.ms ? 1000 * sum.grown / sum.ms : null);
}
function showCharts() {
  if (document.hidden) return;
  for (const chart of CHARTS) {
    const values = series(chart.name), most = Math.max(...values.map((value) => value ?? 0));
    const now = [...samples.at(-1).counters.keys()].reduce((sum, id) => sum + rate(id, chart.name), 0);
    const points = values.map((value, at) => value == null ? null : [100 * (at + 0.5) / values.length, 96 - 90 * value / (most || 1)]);
    const path = points.filter(Boolean).map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");
    const drawn = points.filter(Boolean);
    chart.line.setAttribute("d", path);
    chart.area.setAttribute("d", drawn.length ? `${path}L${drawn.at(-1)[0]} 100L${drawn[0][0]} 100Z` : "");
    write(chart.now, chart.text(now));
    write(chart.most, `at most ${chart.text(most)}`);
    const label = `${chart.title} over the last five minutes: ${chart.text(now)} now, at most ${chart.text(most)}`;
    chart.drawing.setAttribute("aria-label", label);
  }
}

// ---- elections and failures, in words

function words({ peer, from, to, cause }) {
  if (to === "leader") return `Node ${peer} was elected and leads (${cause})`;
  if (from === "leader") return `Node ${peer} leads no more (${cause})`;
  if (to === "dead") return `Node ${peer} failed: ${cause}`;
  if (to === "suspect") return `Node ${peer} is suspected: ${cause}`;
  if (to === "left") return `Node ${peer} has left: ${cause}`;
  if (to === "apart") return `Node ${peer} is apart: ${cause}`;
  if (to === "alive" && from === "suspect") return `Node ${peer} is heard again`;
  if (to === "alive") return `Node ${peer} ${from === "unknown" ? "is there" : "is back"}: ${cause}`;
  return `Node ${peer}: ${from}, now ${to} (${cause})`;
}
function showEvents(own) {
  // Without an admin's token a node tells no history: then what this page has seen itself has to do.
  const told = own.history.map((change) => ({ unix_ms: change.unix_ms, text: words(change) })).reverse();
  const seenHere = ownEvents.filter((event) => !event.isSeen || !told.length);
  const events = [...told, ...seenHere].sort((a, b) => b.unix_ms - a.unix_ms);
  keep($("events"), events.map((event) => `${event.unix_ms} ${event.text}`), (key) => {
    const ms = Number(key.split(" ")[0]), text = key.slice(key.indexOf(" ") + 1);
    return make("li", {}, make("time", { datetime: new Date(ms).toISOString(), title: day(ms) }, clock(ms)), make("span", {}, text));
  });
  if (!events.length) keep($("events"), ["none"], () => make("li", {}, make("span"), make("span", {}, "Nothing has changed yet.")));
}

// ---- uploads

const OUTCOMES = { done: ["good", "✓ "], refused: ["bad", "✕ "], exists: ["warn", "⚠ "] };
const uploads = [];
let waitingFiles = [];

class Upload {
  constructor(file) {
    this.file = file;
    this.name = file.name;
    this.conditions = { "If-None-Match": "*" };
    this.tries = 0;
    this.state = "queued";
    this.label = make("span", { class: "name" });
    this.bar = make("progress", { max: 1, value: 0 });
    this.text = make("span", { class: "state" });
    this.acts = make("span", { class: "row" });
    this.row = make("li", {}, make("div", { class: "row" }, this.label, make("span", { class: "muted" }, bytes(file.size))),
      this.bar, make("div", { class: "row" }, this.text, this.acts));
    this.set("queued", "waits for its turn", ["Cancel", () => this.cancel()]);
  }
  isOver() { return ["done", "refused", "exists", "cancelled"].includes(this.state); }
  set(state, text, ...acts) {
    this.state = state;
    write(this.label, this.name);
    this.bar.setAttribute("aria-label", `Upload of ${this.name}`);
    this.bar.hidden = this.isOver();
    this.row.dataset.state = state;
    const [kind, sign] = OUTCOMES[state] ?? ["", ""];
    this.text.className = `state ${kind}`;
    write(this.text, sign + text);
    const hadFocus = this.acts.contains(document.activeElement);
    this.acts.replaceChildren(...acts.map(([label, act]) =>
      make("button", { type: "button", "aria-label": `${label} ${this.name}`, onclick: act }, label)));
    if (hadFocus) (this.acts.querySelector("button") ?? $("choose")).focus();
    // Of many, the summary is enough.
    if (this.isOver() && uploads.length <= SAID_UPLOADS_MAX) say(`${this.name}: ${text}`);
  }
  cancel() {
    this.request?.abort();
    this.set("cancelled", "cancelled");
    nextUploads();
  }
  refuse(why, isNameAtFault) {
    this.set("refused", capital(why), ["Try again", () => this.again({})]);
    if (!isNameAtFault) return;
    const field = make("input", { "aria-label": `Another name for ${this.name}`, value: nameThatWouldDo(this.name), spellcheck: "false" });
    const rename = () => { this.name = field.value.trim(); this.again({}); };
    field.addEventListener("keydown", (event) => { if (event.key === "Enter") rename(); });
    this.acts.replaceChildren(field, make("button", { type: "button", "aria-label": `Upload as another name: ${this.name}`, onclick: rename }, "Upload as"));
  }
  again(change) {
    Object.assign(this, { tries: 0, isUncertain: false, ...change });
    this.set("queued", "waits for its turn", ["Cancel", () => this.cancel()]);
    nextUploads();
  }
  async start() {
    this.set("checking", "is looked at", ["Cancel", () => this.cancel()]);
    const why = await notPng(this.file);
    if (this.state !== "checking") return;
    if (why) this.refuse(why);
    else if (!/\.png$/i.test(this.name)) this.refuse("The name does not end in .png.", true);
    else await this.send();
    nextUploads();
  }
  async send() {
    while (!this.isOver()) {
      this.set("sending", this.tries ? `is sent again (attempt ${this.tries + 1})` : "is sent", ["Cancel", () => this.cancel()]);
      const answer = await this.put();
      if (this.state === "cancelled") return;
      const { status } = answer;
      if (status === 200 || status === 201) return this.finish(answer);
      if (status === 401) { askToken(answer.text); return this.refuse(answer.text); }
      if (status === 412) return this.ask();
      if (![0, 429, 500, 502, 503, 504].includes(status)) return this.refuse(answer.text, status === 400);
      this.isUncertain ||= ![429, 503].includes(status);
      if (++this.tries >= UPLOAD_TRIES_MAX) return this.refuse(answer.text);
      this.set("sending", `${answer.text} Trying again …`, ["Cancel", () => this.cancel()]);
      await wait(1000 * Math.min(answer.retryAfter || 2 ** this.tries / 4, 5));
    }
  }
  finish(answer) {
    let receipt = {};
    try { receipt = JSON.parse(answer.text); } catch { /* it is stored all the same */ }
    this.set("done", `${receipt.replaced ? "replaced" : "stored"} on node ${receipt.node ?? "?"}, encrypted`);
    galleryChanged();
  }
  ask() {
    const why = this.isUncertain ? "An image of this name is there, perhaps from the attempt that was cut." : "An image of this name exists.";
    this.set("exists", why, ["Replace", () => this.again({ conditions: {} })], ["Skip", () => this.cancel()]);
  }
  /** One PUT: fetch tells no progress of what it sends, XMLHttpRequest does. */
  put() {
    return new Promise((done) => {
      const request = this.request = new XMLHttpRequest();
      request.open("PUT", pathOf(this.name));
      const fields = { ...authorization(), ...this.conditions };
      for (const [name, value] of Object.entries(fields)) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => {
        if (!event.total) return;
        this.bar.value = event.loaded / event.total;
        const isSent = event.loaded >= event.total;
        write(this.text, isSent ? "is made durable" : `${Math.floor(100 * event.loaded / event.total)} % sent`);
      };
      request.onload = () => done({
        status: request.status, text: refusal(request.responseText, request.status),
        retryAfter: Number(request.getResponseHeader("retry-after")),
      });
      request.onerror = request.ontimeout = () => done({ status: 0, text: "The connection to the node broke." });
      request.onabort = () => done({ status: -1, text: "" });
      request.send(this.file);
    });
  }
}
/** Why a file is no PNG that is worth sending; nothing if it may be one. The node checks all of it. */
async function notPng(file) {
  let first;
  try {
    first = new Uint8Array(await file.slice(0, 8).arrayBuffer());
  } catch {
    return "This file cannot be read.";
  }
  if (!first.length) return "This file is empty.";
  if (PNG_SIGNATURE.every((byte, at) => first[at] === byte)) return null;
  const kinds = [["a JPEG", [255, 216]], ["a GIF", [71, 73, 70]], ["a WebP or other RIFF file", [82, 73, 70, 70]], ["a PDF", [37, 80, 68, 70]], ["a BMP", [66, 77]]];
  const kind = kinds.find(([, start]) => start.every((byte, at) => first[at] === byte));
  return `This is no PNG${kind ? `, but ${kind[0]}` : ""}; only PNG images are stored. It was not sent.`;
}
function nameThatWouldDo(name) {
  const stem = name.replace(/\.[^.]*$/, "").normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/\.\.+/g, ".").replace(/^[^A-Za-z0-9_]+|-+$/g, "");
  return `${stem.slice(0, 190) || "image"}.png`;
}
function nextUploads() {
  const busy = uploads.filter((upload) => ["checking", "sending"].includes(upload.state)).length;
  uploads.filter((upload) => upload.state === "queued").slice(0, Math.max(UPLOADS_AT_ONCE - busy, 0)).forEach((upload) => upload.start());
  showUploads();
}
function showUploads() {
  const count = (state) => uploads.filter((upload) => upload.state === state).length;
  const [done, refused, exist] = ["done", "refused", "exists"].map(count);
  $("uploads").hidden = !uploads.length;
  const parts = [`${done} of ${uploads.length} stored`, refused && `${refused} refused`, exist && `${exist} exist already`];
  write($("uploads-summary"), parts.filter(Boolean).join(", "));
  $("uploads-replace").hidden = exist < 2;
  for (const upload of uploads.slice(0, UPLOAD_ENTRIES_MAX)) if (!upload.row.isConnected) $("uploads-list").append(upload.row);
}
function clearFinished() {
  for (let at = uploads.length - 1; at >= 0; at--) {
    if (!uploads[at].isOver()) continue;
    uploads[at].row.remove();
    uploads.splice(at, 1);
  }
  showUploads();
}
$("uploads-clear").addEventListener("click", () => { clearFinished(); $("choose").focus(); });
$("uploads-replace").addEventListener("click", () => uploads.filter((upload) => upload.state === "exists").forEach((upload) => upload.again({ conditions: {} })));
function addFiles(files) {
  if (!user) {
    waitingFiles = files;
    notice("whose", "plain", `Whose ${files.length === 1 ? "image is this" : "images are these"}? Type the name of the user, and they are uploaded.`, true);
    return $("user").focus();
  }
  for (const file of files) uploads.push(new Upload(file));
  if (files.length) say(`${plural(files.length, "file")} to be uploaded`);
  nextUploads();
}
$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => { addFiles([...$("files").files]); $("files").value = ""; });

/** Files of what was dropped, folders included. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) return files.push(await new Promise((done, fail) => entry.file(done, fail)));
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return;
      for (const child of some) await walk(child);
    }
  };
  for (const entry of entries) await walk(entry).catch(() => say(`${entry.name} cannot be read.`));
  return files;
}
const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
// A file that is dropped beside the box would replace the page by itself.
document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  $("drop").classList.remove("over");
  addFiles(await filesOf(event.dataTransfer));
});
window.addEventListener("beforeunload", (event) => {
  const isSending = uploads.some((upload) => !upload.isOver());
  if (isSending && cluster && !$("notices").querySelector("[data-key=lost]")) event.preventDefault();
});

// ---- the gallery: one page of a listing at a time

const gallery = { afters: [""], items: [], next: null, run: 0 };

function setUser(name) {
  if (name !== user) Object.assign(gallery, { afters: [""], items: [] });
  user = name;
  session.set("user", user);
  $("user").value = user;
  unnotice((key) => key === "whose");
  if (cluster) openGallery();
  const files = waitingFiles;
  waitingFiles = [];
  if (files.length) addFiles(files);
}
$("user-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setUser($("user").value.trim());
});
function openGallery() {
  gallery.afters = gallery.afters.slice(0, 1);
  return loadPage();
}
let changeTimer = 0;
function galleryChanged() {
  clearTimeout(changeTimer);
  changeTimer = setTimeout(loadPage, 150);
}
async function loadPage() {
  if (!user) return showGallery();
  const run = ++gallery.run, after = gallery.afters.at(-1);
  const target = `/images/${encodeURIComponent(user)}/?limit=${PAGE_IMAGES}&after=${encodeURIComponent(after)}`;
  let response, found, why;
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      response = await ask("GET", target, { headers: { Accept: "application/json" } });
      if (response.ok) { found = await response.json(); break; }
      why = await sentence(response);
      if (![429, 503].includes(response.status)) break;
    } catch {
      why = "The node does not answer.";
    }
    await wait(500 * (attempt + 1));
    if (run !== gallery.run) return;
  }
  if (run !== gallery.run) return;
  if (response?.status === 401) askToken(why);
  if (found && !found.images.length && gallery.afters.length > 1 && !found.next) {
    gallery.afters.pop();
    return loadPage();
  }
  Object.assign(gallery, { items: found?.images ?? [], next: found?.next ?? null, missing: found?.missing ?? [], why: found ? "" : why });
  showGallery();
}
const keyOf = (item) => `${item.name}\n${item.version ?? item.modified}`;
function showGallery() {
  $("gallery").hidden = !user || !cluster;
  const { items, next, missing, why, afters } = gallery;
  write($("gallery-title"), `Images of ${user}`);
  const away = missing?.length ? ` ${capital(names(missing))} could not be asked: images there are not shown.` : "";
  write($("gallery-summary"), (why || (items.length ? `${plural(items.length, "image")} on this page.` : "No images here yet.")) + away);
  const byKey = new Map(items.map((item) => [keyOf(item), item]));
  for (const child of $("gallery-list").children) if (!byKey.has(child.dataset.key)) forgetThumb(child);
  keep($("gallery-list"), [...byKey.keys()], (key) => entryOf(byKey.get(key)));
  for (const child of $("gallery-list").children) write(child.querySelector(".facts"), factsOf(byKey.get(child.dataset.key)));
  $("page-first").disabled = $("page-back").disabled = afters.length < 2;
  $("page-next").disabled = !next;
  write($("page-number"), items.length ? `${items[0].name} … ${items.at(-1).name}` : "");
  for (const id of ["page-first", "page-back", "page-next", "page-number"]) $(id).hidden = afters.length < 2 && !next;
}
const factsOf = (item) => `${bytes(item.bytes)}, node ${item.node ?? "?"}`;
function entryOf(item) {
  const thumb = make("button", { type: "button", class: "thumb", "aria-label": `View ${item.name}`, onclick: () => view(item) });
  const entry = make("li", {}, thumb,
    make("div", { class: "about" }, make("div", { class: "name", title: item.name }, item.name),
      make("div", { class: "muted facts" }), make("div", { class: "muted" }, day(1000 * item.modified))),
    make("div", { class: "acts" },
      make("button", { type: "button", "aria-label": `Download ${item.name}`, onclick: () => download(item) }, "Download"),
      make("button", { type: "button", "aria-label": `Delete ${item.name}`, onclick: () => remove(item) }, "Delete")));
  thumbs.item.set(thumb, item);
  thumbs.watcher.observe(thumb);
  return entry;
}
$("page-first").addEventListener("click", () => turnTo([""]));
$("page-back").addEventListener("click", () => turnTo(gallery.afters.slice(0, -1)));
$("page-next").addEventListener("click", () => turnTo([...gallery.afters, gallery.next]));
$("page-reload").addEventListener("click", loadPage);
async function turnTo(afters) {
  gallery.afters = afters;
  await loadPage();
  say($("gallery-summary").textContent);
  const isLost = document.activeElement === document.body || document.activeElement.disabled;
  if (isLost) $("gallery-title").focus();
}
$("jump-form").addEventListener("submit", (event) => {
  event.preventDefault();
  // Names after this one are asked for, and a name may be typed whole.
  const name = $("jump").value.trim();
  turnTo(name ? ["", /\.png$/i.test(name) ? name.slice(0, -1) : name] : [""]);
});

// ---- thumbnails: a few at a time, of what is seen

const thumbs = {
  item: new WeakMap(), queue: [], running: new Map(),
  watcher: new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      if (isIntersecting) thumbs.queue.push(target);
      else leaveThumb(target);
    }
    nextThumbs();
  }, { rootMargin: "200px" }),
};
function leaveThumb(thumb) {
  thumbs.queue = thumbs.queue.filter((other) => other !== thumb);
  thumbs.running.get(thumb)?.abort();
}
function forgetThumb(entry) {
  const thumb = entry.querySelector(".thumb");
  thumbs.watcher.unobserve(thumb);
  leaveThumb(thumb);
}
function nextThumbs() {
  while (thumbs.queue.length && thumbs.running.size < THUMBS_AT_ONCE) {
    const thumb = thumbs.queue.shift(), stop = new AbortController();
    thumbs.running.set(thumb, stop);
    drawThumb(thumb, thumbs.item.get(thumb), stop.signal)
      .then(() => thumbs.watcher.unobserve(thumb), (error) => { if (error.name !== "AbortError") write(thumb, error.message); })
      .finally(() => { thumbs.running.delete(thumb); nextThumbs(); });
  }
}
async function drawThumb(thumb, item, signal) {
  if (item.bytes > THUMB_BYTES_MAX) return write(thumb, `${bytes(item.bytes)}: open to view`);
  const blob = await fetchImage(item, signal);
  const size = new DataView(await blob.slice(16, 24).arrayBuffer());
  const [width, height] = [size.getUint32(0), size.getUint32(4)];
  if (width * height > THUMB_PIXELS_MAX) return write(thumb, `${width} × ${height}: open to view`);
  const scale = Math.min(THUMB_EDGE / Math.max(width, height), 1);
  const [w, h] = [width, height].map((edge) => Math.max(Math.round(edge * scale), 1));
  const bitmap = await createImageBitmap(blob, { resizeWidth: w, resizeHeight: h, resizeQuality: "medium" })
    .catch(() => { throw new Error("no picture"); });
  const canvas = make("canvas", { width: w, height: h, "aria-hidden": "true" });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  thumb.replaceChildren(canvas);
}
/** The image as its node has sent it, whole. */
async function fetchImage(item, signal) {
  const response = await ask("GET", pathOf(item.name), { signal, cache: "default" });
  if (!response.ok) throw new Error(await sentence(response));
  const blob = await response.blob();
  if (blob.size !== item.bytes && !response.headers.get("etag")) throw new Error("The image did not arrive whole.");
  return blob;
}

// ---- one image: download, delete, look at it

async function download(item) {
  say(`${item.name} is fetched.`);
  let url;
  try {
    url = URL.createObjectURL(await fetchImage(item));
  } catch (error) {
    return notice("download", "bad", `${item.name} was not downloaded: ${error.message}`, true);
  }
  const link = make("a", { href: url, download: item.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
function confirmed(title, text) {
  write($("confirm-title"), title);
  write($("confirm-text"), text);
  $("confirm").returnValue = "";
  $("confirm").showModal();
  $("confirm-no").focus();
  return new Promise((done) => $("confirm").addEventListener("close", () => done($("confirm").returnValue === "yes"), { once: true }));
}
$("confirm-no").addEventListener("click", () => $("confirm").close(""));
$("confirm-yes").addEventListener("click", () => $("confirm").close("yes"));
async function remove(item) {
  const isSure = await confirmed(`Delete ${item.name}?`, `The image of ${user} is removed from the whole cluster. Nothing brings it back.`);
  if (!isSure) return false;
  const at = gallery.items.findIndex((other) => keyOf(other) === keyOf(item));
  let why;
  try {
    const response = await ask("DELETE", pathOf(item.name));
    if (!response.ok && response.status !== 404) why = await sentence(response);
  } catch {
    why = "The node does not answer.";
  }
  if (why) {
    notice("delete", "bad", `${item.name} was not deleted: ${why}`, true);
    return false;
  }
  say(`${item.name} is deleted.`);
  await loadPage();
  const entries = $("gallery-list").querySelectorAll(".thumb");
  (entries[Math.min(Math.max(at, 0), entries.length - 1)] ?? $("gallery-title")).focus();
  return true;
}
const viewer = { item: null, url: "", stop: null };
async function view(item) {
  closeImage();
  Object.assign(viewer, { item, stop: new AbortController() });
  const { signal } = viewer.stop;
  write($("viewer-title"), item.name);
  write($("viewer-about"), `${factsOf(item)}, ${day(1000 * item.modified)}`);
  $("viewer-back").disabled = !neighbour(-1);
  $("viewer-next").disabled = !neighbour(1);
  $("viewer-state").hidden = false;
  write($("viewer-state"), "is fetched …");
  if (!$("viewer").open) $("viewer").showModal();
  try {
    const blob = await fetchImage(item, signal);
    viewer.url = URL.createObjectURL(blob);
    $("viewer-image").src = viewer.url;
    $("viewer-image").alt = item.name;
    $("viewer-image").hidden = false;
    $("viewer-state").hidden = true;
  } catch (error) {
    if (!signal.aborted) write($("viewer-state"), error.message);
  }
}
const neighbour = (step) => gallery.items[gallery.items.findIndex((item) => keyOf(item) === keyOf(viewer.item)) + step];
function closeImage() {
  viewer.stop?.abort();
  $("viewer-image").hidden = true;
  $("viewer-image").removeAttribute("src");
  URL.revokeObjectURL(viewer.url);
}
function step(by) { const other = neighbour(by); if (other) view(other); }
$("viewer-close").addEventListener("click", () => $("viewer").close());
$("viewer").addEventListener("close", closeImage);
$("viewer-back").addEventListener("click", () => step(-1));
$("viewer-next").addEventListener("click", () => step(1));
$("viewer").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
$("viewer-download").addEventListener("click", () => download(viewer.item));
$("viewer-delete").addEventListener("click", async () => { if (await remove(viewer.item)) $("viewer").close(); });

drawIcon("#56606c");
arrive();
$("user").value = user;
showAccess();
poll();
