/**
 * Owns the table of gateways and the picture of a tick's way with the time of each stage.
 */

import { DASH, age, belowSeconds, count, quantity } from "../../streaming/js/format.js";
import { badge, fillRows, setHidden, setText, setTitle } from "./dom.js";
import { grown, shownGateway } from "./truth.js";

const STAGES = [
  ["exchange", "exchange → received"],
  ["worker", "received → published"],
  ["bus", "published → gateway"],
  ["gateway", "gateway → socket"],
];
const COLUMNS = [
  { isHeader: true, className: "text" },
  { label: "Clients" },
  { label: "Deliveries/s" },
  { label: "Conflated" },
  { label: "Dropped" },
  { label: "Slow closes" },
  { label: "To socket (half, 99 %)" },
  { label: "Up" },
  { label: "Heard" },
];

/** The server counts no further: what took longer is told as this. */
export const LONGEST_MS = 5000;

/** A quantile of a stage as people read it: "0.04 ms", "35 ms", "1200 ms", "below 1 s", "over 5 s". */
export function duration(value, isCoarse = false) {
  if (!Number.isFinite(value)) return DASH;
  if (value >= LONGEST_MS) return `over ${quantity(LONGEST_MS / 1000)} s`;
  if (isCoarse) return belowSeconds(value);
  const digits = value < 1 ? 2 : value < 10 ? 1 : 0;
  return `${value.toFixed(digits)} ms`;
}

export class Gateways {
  #section;
  #body;

  constructor({ section, body }) {
    this.#section = section;
    this.#body = body;
  }

  /** `gateways` null: this user may not see them. */
  show(gateways, when) {
    setHidden(this.#section, gateways === null);
    fillRows(this.#body, gateways ?? [], COLUMNS, (cells, each) => {
      this.#name(cells[0], each, when);
      setText(cells[1], quantity(each.clients));
      setText(cells[2], quantity(Math.round(each.deliveries_per_second)));
      setText(cells[3], quantity(each.conflated));
      setText(cells[4], quantity(each.dropped));
      setText(cells[5], quantity(each.slow_closes));
      setText(cells[6], spread(each.latency.gateway));
      setText(cells[7], age(grown(each.started_age_ms, when.sinceFigures)));
      setText(cells[8], age(grown(each.heartbeat_age_ms, when.sinceFigures)));
    });
  }

  #name(cell, each, when) {
    if (!cell.firstElementChild) {
      const [state, name] = [document.createElement("span"), document.createElement("span")];
      state.className = "badge";
      name.className = "gateway-name";
      cell.append(name, " ", state);
    }
    setText(cell.firstElementChild, each.is_here ? `${each.name} (serves you)` : each.name);
    badge(cell.lastElementChild, shownGateway(each, when));
  }
}

export class Way {
  #section;
  #list;

  constructor({ section, list }) {
    this.#section = section;
    this.#list = list;
  }

  show(latency) {
    setHidden(this.#section, Object.keys(latency).length === 0);
    STAGES.forEach(([stage, name], index) => {
      const item = this.#list.children[index] ?? this.#newItem(name);
      const seen = latency[stage];
      setText(item.children[1], seen ? duration(seen.p50_ms, seen.is_coarse) : DASH);
      const none = stage === "exchange" ? "the ticks carry no time" : "no sample";
      setText(item.children[2], seen ? `99 %: ${duration(seen.p99_ms, seen.is_coarse)}` : none);
      setTitle(item, seen ? sampled(seen) : "");
    });
  }

  #newItem(name) {
    const item = document.createElement("li");
    for (const [tag, className] of [["span", "stage"], ["strong", ""], ["span", "quiet"]]) {
      const node = document.createElement(tag);
      node.className = className;
      item.append(node);
    }
    item.firstElementChild.textContent = name;
    this.#list.append(item);
    return item;
  }
}

function sampled({ ticks, is_coarse: isCoarse }) {
  const why = isCoarse ? "; the exchange stamps whole seconds, so this is a bound" : "";
  return `${count(ticks, "tick")} sampled${why}`;
}

function spread(stage) {
  return stage ? `${duration(stage.p50_ms)}, ${duration(stage.p99_ms)}` : DASH;
}
