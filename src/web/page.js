"use strict";
// Shows the agent's status, asked for again and again. What comes from files and endpoints is set as text, never as markup.

const PAUSE_MS = 2000;
const $ = (id) => document.getElementById(id);
let previous = null;
let timer = 0;

const number = (value) => value.toLocaleString("en");

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function span(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function cell(name, text, className) {
  const made = document.createElement("td");
  made.dataset.name = name;
  made.className = className || "";
  if (text !== undefined) made.textContent = text;
  return made;
}

function line(cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

function errors(texts, columns) {
  const made = cell("", undefined, "");
  made.colSpan = columns;
  for (const text of texts) {
    const words = document.createElement("p");
    words.textContent = text;
    made.append(words);
  }
  const row = line([made]);
  row.className = "errors";
  return row;
}

function fill(id, items, columns, none, make) {
  const body = document.createDocumentFragment();
  for (const item of items) body.append(...make(item));
  if (items.length === 0) {
    const made = cell("", none, "none");
    made.colSpan = columns;
    body.append(line([made]));
  }
  $(id).replaceChildren(body);
}

function source(item) {
  const rows = [line([
    cell("name", item.name, "name"), cell("kind", item.kind), cell("followed", number(item.followed), "n"),
    cell("lines", number(item.lines), "n"), cell("bytes", size(item.bytes), "n"),
    cell("behind", size(item.lag_bytes), "n"), cell("oldest", span(item.lag_s), "n"),
  ])];
  if (item.errors.length) rows.push(errors(item.errors, 7));
  return rows;
}

function endpoint(item) {
  const state = cell("state", undefined, "state");
  const badge = document.createElement("span");
  badge.className = `badge ${{ ok: "good", degraded: "bad", retrying: "warn" }[item.state] || ""}`;
  badge.textContent = item.state;
  state.append(badge);
  const last = item.last_success_s ? `${span(Math.max(0, Date.now() / 1000 - item.last_success_s))} ago` : "never";
  const disk = cell("on disk", item.spool ? size(item.spool.bytes) : "–", "n");
  if (item.spool && item.spool.oldest_s) {
    const oldest = span(Math.max(0, Date.now() / 1000 - item.spool.oldest_s));
    disk.title = `${number(item.spool.frames)} requests, the oldest ${oldest} old`;
  }
  const rows = [line([
    cell("name", item.name, "name"), state, cell("address", item.url, "address"), cell("queued", number(item.queued), "n"),
    disk, cell("entries", number(item.entries), "n"), cell("sent", size(item.bytes), "n"),
    cell("refused", number(item.refused), "n"), cell("retries", number(item.retries), "n"), cell("last success", last, "n"),
  ])];
  if (item.error) rows.push(errors([item.error], 10));
  return rows;
}

function show(status) {
  const sum = (field) => status.sources.reduce((total, item) => total + item[field], 0);
  const now = { at: performance.now(), lines: sum("lines"), bytes: sum("bytes"), started: status.started_s };
  $("version").textContent = status.version;
  $("ready").textContent = status.ready ? "ready" : "not ready";
  $("ready").className = `badge ${status.ready ? "good" : "bad"}`;
  $("uptime").textContent = `running for ${span(Math.max(0, Date.now() / 1000 - status.started_s))}`;
  problems([...status.problems, ...status.notes]);
  $("lines").textContent = number(now.lines);
  $("bytes").textContent = size(now.bytes);
  if (previous && previous.started === now.started && now.at > previous.at) {
    const seconds = (now.at - previous.at) / 1000;
    $("line-rate").textContent = `${number(Math.round((now.lines - previous.lines) / seconds))} lines/s`;
    $("byte-rate").textContent = `${size((now.bytes - previous.bytes) / seconds)}/s`;
  }
  previous = now;
  $("lag").textContent = span(Math.max(0, ...status.sources.map((item) => item.lag_s)));
  $("lag-bytes").textContent = `${size(sum("lag_bytes"))} to go`;
  $("flight").textContent = size(status.in_flight_bytes);
  $("flight-bar").max = Math.max(1, status.in_flight_bytes_max);
  $("flight-bar").value = status.in_flight_bytes;
  $("flight-bar").title = `of at most ${size(status.in_flight_bytes_max)}`;
  fill("sources", status.sources, 7, "No source is configured.", source);
  fill("endpoints", status.endpoints, 10, "No endpoint is configured.", endpoint);
}

function problems(texts) {
  const list = $("problems");
  list.hidden = texts.length === 0;
  list.replaceChildren(...texts.map((text) => {
    const made = document.createElement("li");
    made.textContent = text;
    return made;
  }));
}

async function poll() {
  clearTimeout(timer);
  try {
    const answer = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.json());
  } catch {
    $("ready").textContent = "no answer";
    $("ready").className = "badge bad";
    previous = null;
  }
  clearTimeout(timer);
  timer = setTimeout(poll, document.hidden ? PAUSE_MS * 10 : PAUSE_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
poll();
