/**
 * Owns the table of rows: builds a row once, then writes only the cells whose text changed.
 *
 * Ticks arrive far more often than an eye can follow, so nothing is written on arrival: the store
 * collects changed rows and one animation frame writes them together, a few times a second. Rows
 * outside the window follow once a second, but at once when their state changes.
 */

import * as format from "./format.js";
import { QUIET_AFTER_MS, RowState } from "./store.js";

const FLASH_MS = 260;
// Busy symbols would flicker: below three flashes a second nobody is hurt, and each one is seen.
const BETWEEN_FLASHES_MS = 500;
const FOUND_MS = 1500;
const BETWEEN_FRAMES_MS = 80;
const NEAR_THE_WINDOW = "200px 0px";
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
  #flashedAt = -Infinity;
  #moves = 0;

  constructor(template, row, onRemove) {
    this.#row = row;
    this.isVisible = true;
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
    this.#written.set("state", row.state);
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
    if (time - this.#flashedAt < FLASH_MS) return true;
    this.#data("flash", "");
    return false;
  }

  /** Whether the row must be written though nobody sees it: its state is not the one shown. */
  get isUrgent() {
    return this.isVisible || this.#written.get("state") !== this.#row.state;
  }

  get isFlashing() {
    return Boolean(this.#written.get("data-flash"));
  }

  #flash() {
    if (this.#row.moves === this.#moves) return;
    this.#moves = this.#row.moves;
    const now = performance.now();
    if (now - this.#flashedAt < BETWEEN_FLASHES_MS) return;
    this.#flashedAt = now;
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
  #observer;
  #lastFrame = -Infinity;
  #views = new Map();
  #flashing = new Set();
  #isScheduled = false;

  /** `now()` is the server's time; `onRemove(key)` is asked for by a row's button. */
  constructor({ body, template, store, now, onRemove }) {
    this.#body = body;
    this.#template = template;
    this.#store = store;
    this.#now = now;
    this.#onRemove = onRemove;
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), {
      rootMargin: NEAR_THE_WINDOW,
    });
  }

  /** Ask for a frame; any number of calls before it cost one frame. */
  schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame((time) => this.#frame(time));
  }

  /** Write everything that is due, seen or not, and every age. Runs once a second. */
  renderAll() {
    const now = this.#now();
    this.#write(now, true);
    for (const view of this.#views.values()) view.renderAge(now);
  }

  /** Bring a row into view and show for a moment which one it is. */
  reveal(key) {
    const view = this.#views.get(key);
    if (!view) return;
    view.element.scrollIntoView({ block: "nearest" });
    view.element.dataset.found = "";
    setTimeout(() => delete view.element.dataset.found, FOUND_MS);
  }

  remove(key) {
    const view = this.#views.get(key);
    if (!view) return;
    const neighbour = view.element.nextElementSibling ?? view.element.previousElementSibling;
    const hadFocus = view.element.contains(document.activeElement);
    this.#flashing.delete(view);
    this.#views.delete(key);
    this.#observer.unobserve(view.element);
    view.element.remove();
    if (hadFocus) neighbour?.querySelector("button")?.focus();
  }

  #frame(time) {
    this.#isScheduled = false;
    if (time - this.#lastFrame < BETWEEN_FRAMES_MS) {
      this.schedule();
      return;
    }
    this.#lastFrame = time;
    this.#write(this.#now(), false);
    for (const view of this.#flashing) {
      if (!view.settle(time)) this.#flashing.delete(view);
    }
    if (this.#flashing.size) this.schedule();
  }

  #write(now, isComplete) {
    for (const row of this.#store.dirty) {
      const view = this.#viewOf(row);
      if (!isComplete && !view.isUrgent) continue;
      this.#store.dirty.delete(row);
      view.render(now);
      if (view.isFlashing) this.#flashing.add(view);
    }
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const view = this.#views.get(target.dataset.key);
      if (view) view.isVisible = isIntersecting;
    }
    this.schedule();
  }

  #viewOf(row) {
    let view = this.#views.get(row.key);
    if (!view) {
      view = new RowView(this.#template, row, this.#onRemove);
      this.#views.set(row.key, view);
      this.#body.append(view.element);
      this.#observer.observe(view.element);
    }
    return view;
  }
}
