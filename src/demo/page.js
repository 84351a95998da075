"use strict";
// Shows what the receiver has, by asking for what is new. Everything that was pushed is set as text, never as markup.

const ROWS = 500;
const PAUSE_MS = 400;
const SAMPLES = 60;

const $ = (id) => document.getElementById(id);
const lines = $("lines");
let after = 0;
let paused = false;
let filter = "";
let following = true;
let drawn = 0;
let question = 0;
let epoch = 0;
let timer = 0;
let previous = null;
const rates = [];

const number = (value) => value.toLocaleString("en");

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function clock(ms) {
  const time = new Date(ms);
  if (Number.isNaN(time.getTime())) return "–";
  const two = (n) => String(n).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

function level(line) {
  const head = line.slice(0, 400);
  if (/\b(error|err|fatal|crit|critical|panic)\b/i.test(head)) return "error";
  if (/\b(warn|warning)\b/i.test(head)) return "warn";
  return "";
}

function hue(labels) {
  let hash = 0x811c9dc5;
  for (const [name, value] of labels) {
    for (const c of `${name}=${value}`) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193);
  }
  return ((hash >>> 7) ^ (hash >>> 19)) % 360;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function chip([name, value], meta) {
  const made = element("button", meta ? "chip meta" : name === "filename" ? "chip path" : "chip");
  made.type = "button";
  made.tabIndex = -1;
  made.title = `${name}="${value}"`;
  made.dataset.value = value;
  // Of a long path the end tells more than the beginning; the title has it whole.
  const parts = value.split("/");
  const short = name === "filename" && value.length > 30 && parts.length > 3 ? `…/${parts.slice(-2).join("/")}` : value;
  made.append(element("b", "", `${name}=`), short);
  return made;
}

function row(entry, streams) {
  const labels = streams[entry.s] || [];
  const made = element("div", `row ${level(entry.line)}`);
  made.style.setProperty("--hue", hue(labels));
  const time = element("time", "", clock(entry.ms));
  const date = new Date(entry.ms);
  if (!Number.isNaN(date.getTime())) time.title = date.toString();
  const chips = element("div", "chips");
  // What tells most comes first and keeps its room; long paths give way.
  const rank = ([name]) => (name === "job" ? 0 : name === "filename" ? 2 : 1);
  for (const pair of [...labels].sort((a, b) => rank(a) - rank(b))) chips.append(chip(pair, false));
  for (const pair of entry.meta || []) chips.append(chip(pair, true));
  made.append(time, element("div", "text", entry.cut ? `${entry.line} … (cut here)` : entry.line), chips);
  return made;
}

function draw(tail) {
  if (tail.entries.length === 0) return;
  const fragment = document.createDocumentFragment();
  if (tail.skipped > 0 && drawn > 0) {
    fragment.append(element("div", "gap", `${number(tail.skipped)} lines came faster than this page shows them`));
  }
  for (const entry of tail.entries) fragment.append(row(entry, tail.streams));
  drawn += tail.entries.length;
  const top = lines.scrollTop;
  lines.append(fragment);
  let removed = 0;
  while (lines.childElementCount > ROWS) {
    removed += following ? 0 : lines.firstElementChild.offsetHeight;
    lines.firstElementChild.remove();
  }
  if (following) lines.scrollTop = lines.scrollHeight;
  else lines.scrollTop = Math.max(0, top - removed);
}

function figures(totals) {
  $("entries").textContent = number(totals.entries);
  $("bytes").textContent = size(totals.line_bytes);
  $("streams").textContent = number(totals.streams);
  $("pushes").textContent = number(totals.pushes);
  $("refused").textContent = number(totals.refused);
  $("refused-figure").classList.toggle("bad", totals.refused > 0);
  $("refusal").hidden = !totals.last_refusal;
  $("refusal").textContent = totals.last_refusal ? `Last refused push: ${totals.last_refusal}` : "";
  $("empty").hidden = totals.entries > 0;

  const now = performance.now();
  if (previous && totals.entries < previous.entries) { reset(); previous = null; }
  if (!previous) { previous = { now, entries: totals.entries }; return; }
  if (now - previous.now < 950) return;
  rates.push((totals.entries - previous.entries) * 1000 / (now - previous.now));
  previous = { now, entries: totals.entries };
  if (rates.length > SAMPLES) rates.shift();
  const recent = rates.slice(-5);
  const rate = recent.reduce((a, b) => a + b, 0) / recent.length;
  $("rate").textContent = rate < 10 ? rate.toFixed(1) : number(Math.round(rate));
  if (rates.length < 2) return;
  const most = Math.max(1, ...rates);
  const points = rates.map((r, i) => `${60 - rates.length + i + 1},${(19 - 18 * r / most).toFixed(1)}`);
  $("spark").firstElementChild.setAttribute("points", points.join(" "));
}

function reset() {
  lines.replaceChildren();
  after = 0;
  drawn = 0;
  epoch += 1;
}

async function poll() {
  clearTimeout(timer);
  question += 1;
  const mine = question;
  const asked = epoch;
  try {
    const query = new URLSearchParams({ after, limit: paused ? 0 : ROWS, filter });
    const answer = await fetch(`/api/tail?${query}`, { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(await answer.text());
    const tail = await answer.json();
    // Only the newest question's answer is drawn: two under way at once would show lines twice.
    if (mine !== question) return;
    figures(tail.totals);
    if (asked === epoch && !paused) {
      draw(tail);
      after = tail.next;
    }
    state(paused ? "paused" : "live", paused ? "" : "live");
  } catch {
    if (mine !== question) return;
    state("the receiver does not answer", "lost");
  }
  clearTimeout(timer);
  timer = setTimeout(poll, document.hidden ? PAUSE_MS * 10 : PAUSE_MS);
}

function state(words, className) {
  const shown = $("state");
  if (shown.textContent !== words) shown.textContent = words;
  shown.className = `state ${className}`;
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  poll();
});

$("clear").addEventListener("click", () => {
  lines.replaceChildren();
  drawn = 0;
});

let typing = 0;
function filterBy(text) {
  clearTimeout(typing);
  typing = setTimeout(() => {
    filter = text.trim();
    reset();
    poll();
  }, 150);
}
$("filter").addEventListener("input", (event) => filterBy(event.target.value));

lines.addEventListener("click", (event) => {
  const pressed = event.target.closest(".chip");
  if (!pressed) return;
  $("filter").value = pressed.dataset.value;
  filterBy(pressed.dataset.value);
});

lines.addEventListener("scroll", () => {
  following = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  $("latest").hidden = following;
}, { passive: true });

$("latest").addEventListener("click", () => {
  following = true;
  lines.scrollTop = lines.scrollHeight;
});

document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });

$("example").textContent =
  `curl ${location.origin}/loki/api/v1/push -H 'Content-Type: application/json' \\\n` +
  `  -d '{"streams":[{"stream":{"job":"hello"},"values":[["'$(date +%s%N)'","hello"]]}]}'`;
poll();
