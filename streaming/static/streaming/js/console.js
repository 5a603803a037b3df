/**
 * Composes the console: one connection, what is subscribed on it, the frames of it, the figures, and
 * the code that does the same.
 */

import { Chosen } from "./chosen.js";
import { Phase, TickConnection } from "./connection.js";
import { FeedState } from "./feed.js";
import { DASH, belowSeconds, quantity } from "./format.js";
import { FrameLog } from "./frame_log.js";
import { KeptConsole, storage } from "./kept_console.js";
import { Meter } from "./meter.js";
import { Search } from "./search.js";
import { javascriptCode, pythonCode } from "./snippets.js";

const LABELS = {
  [Phase.CONNECTING]: ["busy", "Connecting"],
  [Phase.OPEN]: ["good", "Connected"],
  [Phase.SILENT]: ["bad", "No answer from the server"],
  [Phase.WAITING]: ["bad", "Disconnected; connecting again by itself"],
  [Phase.SIGNED_OUT]: ["bad", "Signed out"],
  [Phase.REFUSED]: ["bad", "The server ended the connection"],
};
const COPIED_MS = 1500;
// The page's own heartbeat, one a second while nothing else comes: it would push out what was asked for.
const BEAT = /^\{"(?:action":"ping"|type":"pong")/;

const $ = (id) => document.getElementById(id);
const { ticksPath, programPath, user } = document.body.dataset;
const origin = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}`;

const kept = new KeptConsole({ user, storage: storage() });
const before = kept.read();
$("mode").value = String(before.mode);
if ($("batching").querySelector(`[value="${before.interval || ""}"]`)) $("batching").value = before.interval || "";

const meter = new Meter();
const feed = new FeedState();
const log = new FrameLog({ list: $("frames"), note: $("frame-note") });
const interval = () => Number($("batching").value);
const connection = new TickConnection({
  url: () => origin + ticksPath + (interval() ? `?interval=${interval()}` : ""),
  wantsBatches: () => interval() > 0,
  onFrame: (text, isSent) => BEAT.test(text) || log.add(text, isSent),
  onMessage: received,
  onPhase: phaseChanged,
});
const chosen = new Chosen({
  list: $("chosen"),
  none: $("none"),
  send: (request) => connection.send(request),
  troubleFor: (item) => feed.troubleFor(item),
  onChange: changed,
});
const search = new Search({
  input: $("search"),
  list: $("found"),
  hint: $("search-hint"),
  isListed: () => false,
  onChoose: ({ exchange, symbol }) => chosen.add({ exchange, symbol, mode: Number($("mode").value) }),
  onError: (error) => {
    if (error.isSignedOut) connection.close(Phase.SIGNED_OUT);
  },
});

function received(message, size) {
  const ticks = message.type === "ticks" ? message.ticks : message.type === "market_data" ? [message] : [];
  meter.frame(performance.now(), size, ticks.length);
  const now = connection.serverNow();
  for (const tick of ticks) {
    chosen.ticked(tick);
    if (tick.data?.timestamp > 0) meter.age(Math.max(0, now - tick.data.timestamp), tick.data.timestamp);
  }
  if (message.subscriptions) chosen.answered(message);
  if (message.type === "feed") {
    feed.apply(message);
    chosen.feedChanged();
  }
}

function phaseChanged(phase, before) {
  const [state, label] = LABELS[phase];
  const code = [Phase.CONNECTING, Phase.OPEN, Phase.SILENT].includes(phase) ? 0 : connection.closeCode;
  $("pill").dataset.state = state;
  $("pill-text").textContent = code ? `${label} (code ${code})` : label;
  $("login-again").hidden = phase !== Phase.SIGNED_OUT;
  $("reconnect").hidden = phase === Phase.CONNECTING || phase === Phase.SIGNED_OUT;
  if (phase !== Phase.OPEN) return chosen.lost();
  if (before !== Phase.SILENT) {
    feed.reset(); // a new connection is told again
    connection.send({ action: "subscribe_status" });
  }
  chosen.replay();
}

function reconnect() {
  meter.clear();
  connection.open();
}

function changed() {
  keep();
  showCode();
}

function keep() {
  kept.write({ subscriptions: chosen.subscriptions, mode: Number($("mode").value), interval: interval() });
}

function showCode() {
  const choices = {
    url: origin + programPath,
    subscriptions: chosen.subscriptions,
    interval: interval(),
  };
  $("python").textContent = pythonCode(choices);
  $("javascript").textContent = javascriptCode(choices);
}

function showFigures() {
  const rates = meter.rates(performance.now());
  put("frame-rate", `${quantity(Math.round(rates.frames))} /s`);
  put("tick-rate", `${quantity(Math.round(rates.ticks))} /s`);
  put("byte-rate", bytes(rates.bytes));
  const latency = meter.isCoarse ? belowSeconds : milliseconds;
  put("latency-median", latency(meter.ageBelow(0.5)));
  put("latency-high", latency(meter.ageBelow(0.95)));
  put("round-trip", milliseconds(connection.roundTripMs));
}

const put = (id, text) => ($(id).textContent = text);
const milliseconds = (value) => (Number.isFinite(value) ? `${quantity(Math.round(value))} ms` : DASH);

function bytes(value) {
  return value < 10_000 ? `${quantity(Math.round(value))} B/s` : `${quantity(Math.round(value / 1000))} kB/s`;
}

async function copy(button, text) {
  const isDone = await write(text);
  $("news").textContent = isDone ? "Copied" : "Could not be copied";
  const label = button.textContent;
  if (label === "Copied" || label === "Not copied") return;
  button.textContent = isDone ? "Copied" : "Not copied";
  setTimeout(() => (button.textContent = label), COPIED_MS);
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeByHand(text); // plain HTTP on a network has no clipboard of the newer kind
  }
}

function writeByHand(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  return isDone;
}

function filter() {
  log.filter({ kind: $("kind").value, text: $("filter").value });
}

$("pause").addEventListener("click", () => {
  log.pause(!log.isPaused);
  $("pause").setAttribute("aria-pressed", String(log.isPaused));
  $("pause").textContent = log.isPaused ? "Resume" : "Pause";
});
$("kind").addEventListener("change", filter);
$("filter").addEventListener("input", filter);
$("clear").addEventListener("click", () => {
  log.clear();
  meter.clear();
});
$("copy").addEventListener("click", () => copy($("copy"), log.shownText));
$("copy-python").addEventListener("click", () => copy($("copy-python"), $("python").textContent));
$("copy-javascript").addEventListener("click", () => copy($("copy-javascript"), $("javascript").textContent));
$("mode").addEventListener("change", keep);
$("batching").addEventListener("change", () => {
  changed();
  reconnect();
});
$("reconnect").addEventListener("click", reconnect);
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
  }
});
setInterval(showFigures, 1000);

for (const each of before.subscriptions) chosen.add(each);
showCode();
connection.heed();
connection.open();
