/**
 * Composes the history page: the chosen range, its charts, the same as a table, and the files.
 */

import { clock, quantity } from "../../streaming/js/format.js";
import { Band } from "./band.js";
import { Chart } from "./chart.js";
import { Moments } from "./moments.js";

const AGAIN_MS = 60_000;
const TIMEOUT_MS = 20_000;
const MEASURES = [
  { column: "symbols", name: "Symbols", limit: "capacity", limitName: "capacity" },
  { column: "connections", name: "Connections", limit: "max_connections", limitName: "maximum" },
  { column: "clients", name: "Clients" },
  { column: "ticks_per_second", name: "Ticks/s" },
  { column: "drops", name: "Drops" },
  { column: "reconnects", name: "Reconnects" },
];
/** Events that begin an outage, or may. */
const OUTAGE_KINDS = new Set(["feed_stale", "feed_auth_required", "feed_not_served", "lost"]);
const STEPS = [[86_400_000, "day"], [3_600_000, "hour"], [60_000, "minute"]];

const $ = (id) => document.getElementById(id);
const { timeZone, points: pointsUrl, file: fileUrl, eventsFile } = document.body.dataset;
const moments = new Moments(timeZone);
const charts = MEASURES.map(({ name, limitName }) => new Chart({ name, limitName, moments, timeZone }));
const band = new Band({ element: $("band"), readout: $("band-readout"), moments });
$("charts").append(...charts.map((chart) => chart.element));

let answer = null;
let asking = null;
let again = 0;

/** What the address names: `range`, or `from` and `to`. */
function chosen() {
  const query = new URLSearchParams(location.search);
  const found = new URLSearchParams();
  for (const name of ["range", "from", "to"]) if (query.get(name)) found.set(name, query.get(name));
  if (!found.size) found.set("range", "24h");
  return found;
}

async function load() {
  clearTimeout(again);
  asking?.abort();
  const mine = (asking = new AbortController());
  const query = chosen();
  showChoice(query);
  $("charts").setAttribute("aria-busy", "true");
  try {
    const signal = AbortSignal.any([mine.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const response = await fetch(`${pointsUrl}?${query}`, { signal, headers: { Accept: "application/json" } });
    if (response.status === 401) return location.reload(); // the server leads to the login page
    const body = await response.json();
    if (!response.ok) throw new Error(body.message ?? `the server answered ${response.status}`);
    answer = body;
    problem("");
    show();
  } catch (error) {
    if (mine.signal.aborted) return;
    const text = error instanceof TypeError || error.name === "TimeoutError" ? "the server cannot be reached" : error.message;
    problem(`These figures could not be loaded: ${text}`);
  } finally {
    if (asking === mine) $("charts").setAttribute("aria-busy", "false");
  }
  if (query.has("range")) again = setTimeout(load, AGAIN_MS);
}

function show() {
  const index = Object.fromEntries(answer.columns.map((name, position) => [name, position]));
  const column = (name) => answer.points.map((point) => [point[index.t], point[index[name]]]);
  MEASURES.forEach(({ column: name, limit }, number) => {
    const points = column(name);
    charts[number].show({
      points,
      limits: limit ? column(limit) : [],
      from: answer.from,
      to: answer.to,
      stepMs: answer.step_ms,
      isFitted: $("fit").checked,
      peak: answer.peaks[name] ?? highest(points),
    });
  });
  band.show({ states: answer.states, minutes: answer.outage_minutes, from: answer.from, to: answer.to });
  showEvents();
  const step = describeStep(answer.step_ms);
  const span = `${moments.short(answer.from, answer.to)} to ${moments.short(answer.to, answer.from)}`;
  $("about").textContent = answer.points.length
    ? `${span}. Each step is the highest value of ${step}; drops and reconnects are counted in it.`
    : `Nothing was written from ${span}. A worker writes at the end of each interval.`;
  if ($("table-part").open) showTable();
}

/** Of counts the server names no peak: it is the fullest step. */
function highest(points) {
  const top = points.reduce((best, point) => (point[1] > (best?.[1] ?? 0) ? point : best), null);
  return top && { value: top[1], at_ms: top[0] };
}

function showTable() {
  if (!answer) return;
  const names = [`Time (${moments.zone(answer.to)})`, ...MEASURES.map(({ name }) => name), "Capacity", "Max. connections", "Outage, min"];
  $("table-head").replaceChildren(...names.map((name) => cell("th", name)));
  $("table-rows").replaceChildren(
    ...answer.points.toReversed().map(([at, ...values]) => {
      const row = document.createElement("tr");
      row.append(cell("th", moments.bare(at, answer.to), "row"), ...values.map((value) => cell("td", quantity(value))));
      names.slice(1).forEach((name, index) => (row.cells[index + 1].dataset.label = name));
      return row;
    }),
  );
}

function showEvents() {
  const { events, events_total: total, to } = answer;
  $("events-time").textContent = `Time (${moments.zone(to)})`;
  $("events-part").hidden = !events.length;
  const newest = events.length < total ? `the newest ${quantity(events.length)} of ${quantity(total)}; the file has all` : quantity(total);
  $("events-about").textContent = total ? newest : "none in this range";
  $("event-rows").replaceChildren(
    ...events.map(([at, kind, message, word]) => {
      const row = document.createElement("tr");
      const cells = [cell("th", clock(at, timeZone, { now: to, isBare: true }), "row"), cell("td", word), cell("td", message)];
      for (const each of cells) each.classList.add("text");
      cells[0].title = moments.full(at);
      if (OUTAGE_KINDS.has(kind)) cells[1].classList.add("outage");
      row.append(...cells);
      return row;
    }),
  );
}

function cell(tag, text, scope = "col") {
  const node = document.createElement(tag);
  if (tag === "th") node.scope = scope;
  node.textContent = text;
  return node;
}

function showChoice(query) {
  for (const button of document.querySelectorAll("[data-range]")) {
    button.setAttribute("aria-pressed", String(button.dataset.range === query.get("range")));
  }
  $("from").value = query.get("from") ?? "";
  $("to").value = query.get("to") ?? "";
  for (const step of ["interval", "day"]) {
    $(`file-${step}`).href = `${fileUrl}?${new URLSearchParams([...query, ["step", step]])}`;
  }
  $("file-events").href = `${eventsFile}?${query}`;
}

function choose(query) {
  history.pushState(null, "", `?${new URLSearchParams(query)}`);
  load();
}

function describeStep(stepMs) {
  const [size, unit] = STEPS.find(([size]) => stepMs % size === 0) ?? STEPS.at(-1);
  const number = stepMs / size;
  return number === 1 ? `one ${unit}` : `${quantity(number)} ${unit}s`;
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

for (const button of document.querySelectorAll("[data-range]")) {
  button.addEventListener("click", () => choose({ range: button.dataset.range }));
}
$("range").addEventListener("submit", (event) => {
  event.preventDefault();
  const [from, to] = [$("from").value, $("to").value];
  if (!from) return problem("Choose when the range begins.");
  return choose(to ? { from, to } : { from });
});
$("fit").addEventListener("change", () => answer && show());
$("table-part").addEventListener("toggle", () => $("table-part").open && showTable());
window.addEventListener("popstate", load);
load();
