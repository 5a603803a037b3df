/**
 * Owns the table of rows: builds a row once, then writes only the cells whose text changed.
 *
 * Ticks arrive far more often than a screen shows them, so nothing is written on arrival: the store
 * collects changed rows and one animation frame writes them together.
 */

import * as format from "./format.js";
import { QUIET_AFTER_MS, RowState } from "./store.js";

const FLASH_MS = 320;
const ARROWS = { 1: "\u25b2", 0: "", "-1": "\u25bc" };
const LABELS = {
  [RowState.WAITING]: "waiting",
  [RowState.STALE]: "stale",
  [RowState.REFUSED]: "refused",
};

/** One row on screen: remembers what each node says, so that equal text costs nothing. */
class RowView {
  #written = new Map();
  #row;
  #flashUntil = 0;
  #moves = 0;

  constructor(template, row, onRemove) {
    this.#row = row;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.dataset.key = row.key;
    this.nodes = {};
    for (const node of this.element.querySelectorAll("[data-field]")) {
      this.nodes[node.dataset.field] = node;
    }
    const remove = this.nodes.remove;
    remove.setAttribute("aria-label", `Remove ${row.symbol} (${row.exchange})`);
    remove.addEventListener("click", () => onRemove(row.key));
  }

  render(now) {
    const row = this.#row;
    const decimals = format.decimalsFor(row.tickSize, row.last, row.bid, row.ask);
    this.#text("symbol", row.symbol);
    this.#text("exchange", row.exchange);
    this.#text("name", row.name);
    this.#text("last", format.price(row.last, decimals));
    this.#text("change", format.signed(row.change, decimals));
    this.#text("percent", format.percent(row.changePercent));
    this.#text("bid", format.price(row.bid, decimals));
    this.#text("bidSize", row.bidSize === undefined ? "" : format.quantity(row.bidSize));
    this.#text("ask", format.price(row.ask, decimals));
    this.#text("askSize", row.askSize === undefined ? "" : format.quantity(row.askSize));
    this.#text("volume", format.quantity(row.volume));
    this.#text("arrow", ARROWS[row.direction]);
    this.#data("direction", row.direction > 0 ? "up" : row.direction < 0 ? "down" : "");
    this.#data("day", row.change > 0 ? "up" : row.change < 0 ? "down" : "");
    this.#flash();
    this.renderAge(now);
  }

  /** Age and the badge that depends on it; runs every second for every row. */
  renderAge(now) {
    const row = this.#row;
    const age = now - row.heardAt;
    const isQuiet = row.state === RowState.LIVE && age > QUIET_AFTER_MS;
    this.#text("age", row.last === undefined ? format.DASH : format.age(age));
    const label = isQuiet ? "quiet" : (LABELS[row.state] ?? "");
    this.#data("state", isQuiet ? "quiet" : row.state);
    if (this.#text("badge", label)) {
      this.nodes.badge.hidden = !label;
    }
    const why = isQuiet ? "No update for more than a minute" : row.reason;
    if (this.#written.get("why") !== why) {
      this.#written.set("why", why);
      this.nodes.badge.title = why;
    }
  }

  /** Take the flash away when its time is over; true while it still shows. */
  settle(time) {
    if (this.#flashUntil > time) return true;
    this.#data("flash", "");
    return false;
  }

  get isFlashing() {
    return this.#flashUntil > 0 && this.#written.get("data-flash") !== "";
  }

  #flash() {
    if (this.#row.moves === this.#moves) return;
    this.#moves = this.#row.moves;
    this.#flashUntil = performance.now() + FLASH_MS;
    this.#data("flash", this.#row.direction > 0 ? "up" : "down");
  }

  #text(field, value) {
    if (this.#written.get(field) === value) return false;
    this.#written.set(field, value);
    this.nodes[field].textContent = value;
    return true;
  }

  #data(name, value) {
    const id = `data-${name}`;
    if (this.#written.get(id) === value) return;
    this.#written.set(id, value);
    this.element.setAttribute(id, value);
  }
}

export class Table {
  #body;
  #template;
  #store;
  #now;
  #onRemove;
  #onFrame;
  #views = new Map();
  #flashing = new Set();
  #isScheduled = false;

  /** `now()` is the server's time; `onFrame` runs behind every frame that wrote something. */
  constructor({ body, template, store, now, onRemove, onFrame = () => {} }) {
    this.#body = body;
    this.#template = template;
    this.#store = store;
    this.#now = now;
    this.#onRemove = onRemove;
    this.#onFrame = onFrame;
  }

  /** Ask for a frame; any number of calls before it cost one frame. */
  schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame((time) => this.#frame(time));
  }

  renderAges() {
    const now = this.#now();
    for (const view of this.#views.values()) view.renderAge(now);
  }

  /** Bring a row into view and show where it is. */
  reveal(key) {
    const view = this.#views.get(key);
    if (!view) return;
    view.element.scrollIntoView({ block: "nearest" });
    view.nodes.remove.focus();
  }

  remove(key) {
    const view = this.#views.get(key);
    if (!view) return;
    const neighbour = view.element.nextElementSibling ?? view.element.previousElementSibling;
    const hadFocus = view.element.contains(document.activeElement);
    this.#flashing.delete(view);
    this.#views.delete(key);
    view.element.remove();
    if (hadFocus) neighbour?.querySelector("button")?.focus();
  }

  #frame(time) {
    this.#isScheduled = false;
    const now = this.#now();
    for (const row of this.#store.dirty) {
      const view = this.#viewOf(row);
      view.render(now);
      if (view.isFlashing) this.#flashing.add(view);
    }
    this.#store.dirty.clear();
    for (const view of this.#flashing) {
      if (!view.settle(time)) this.#flashing.delete(view);
    }
    if (this.#flashing.size) this.schedule();
    this.#onFrame();
  }

  #viewOf(row) {
    let view = this.#views.get(row.key);
    if (!view) {
      view = new RowView(this.#template, row, this.#onRemove);
      this.#views.set(row.key, view);
      this.#body.append(view.element);
    }
    return view;
  }
}
