/** Owns one row on screen: remembers what each node says, so that equal text costs nothing. */

import * as format from "./format.js";
import { pathOf } from "./spark.js";
import { ROOM_WORD, RowState, isQuiet } from "./store.js";
import { siteClock } from "./zone.js";

export const SPARK = Object.freeze({ width: 64, height: 18 });
const FLASH_MS = 260;
// Busy symbols would flicker: below three flashes a second nobody is hurt, and each one is seen.
const BETWEEN_FLASHES_MS = 500;
const ARROWS = { 1: "\u25b2", 0: "", "-1": "\u25bc" };
const LABELS = {
  [RowState.WAITING]: "waiting",
  [RowState.STALE]: "stale",
  [RowState.REFUSED]: "refused",
};

const quantityOf = (value) => format.quantity(value); // the same whatever a price's decimals
// One dash for two values that are both missing: the second of them says nothing.
const sizeOf = (value) => (value === undefined ? "" : format.quantity(value));
const highOf = (value, decimals) => (value === undefined ? "" : format.price(value, decimals));

export class RowView {
  #written = new Map();
  #values = new Map(); // the numbers that are written, at these decimals: formatting is dear
  #decimals = 0;
  #flashedAt = -Infinity;
  #moves = 0;
  #trailVersion = 0;
  #waitsSince; // when the row was first seen to have no price yet

  constructor(template, row) {
    this.row = row;
    this.isVisible = true;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.dataset.key = row.key;
    this.nodes = {};
    for (const node of this.element.querySelectorAll("[data-field]")) {
      this.nodes[node.dataset.field] = node;
    }
    this.nodes.remove.setAttribute("aria-label", `Remove ${row.symbol} (${row.exchange})`);
    this.reachable = false;
    this.open = false;
  }

  /** Whether Tab stops at this row: at one row of the table only, arrow keys do the rest. */
  set reachable(isReachable) {
    this.nodes.symbol.tabIndex = this.nodes.remove.tabIndex = isReachable ? 0 : -1;
  }

  /** Whether the order book of this row is open below it. */
  set open(isOpen) {
    this.nodes.symbol.setAttribute("aria-expanded", String(isOpen));
    this.element.toggleAttribute("data-open", isOpen);
  }

  render(now) {
    const { row } = this;
    // Never fewer than before: a column whose decimals come and go cannot be read.
    row.decimals = Math.max(
      row.decimals,
      format.decimalsFor(row.tickSize, row.last, row.bid, row.ask),
    );
    const { decimals } = row;
    if (decimals !== this.#decimals) {
      this.#decimals = decimals;
      this.#values.clear();
    }
    this.#text("symbol", row.symbol);
    this.#text("exchange", row.exchange);
    this.#text("name", row.name);
    this.#number("last", row.last, format.price);
    this.#number("change", row.change, format.signed);
    this.#number("percent", row.changePercent, format.percent);
    this.#number("bid", row.bid, format.price);
    this.#number("bidSize", row.bidSize, sizeOf);
    this.#number("ask", row.ask, format.price);
    this.#number("askSize", row.askSize, sizeOf);
    this.#number("volume", row.volume, quantityOf);
    this.#text("arrow", ARROWS[row.direction]);
    this.#data("direction", row.direction > 0 ? "up" : row.direction < 0 ? "down" : "");
    this.#data("day", row.change > 0 ? "up" : row.change < 0 ? "down" : "");
    this.#range(row);
    this.#spark(row);
    this.#flash();
    this.renderAge(now);
  }

  /** Age and the badge that depends on it; runs every second for every row. */
  renderAge(now) {
    const { row } = this;
    const quiet = isQuiet(row, now);
    this.#text("age", row.last === undefined ? format.DASH : format.age(now - row.heardAt));
    const state = row.waitsForRoom ? ROOM_WORD : (LABELS[row.state] ?? "");
    const label = quiet ? "quiet" : row.ended || state;
    this.#written.set("state", row.state);
    this.#data("state", quiet ? "quiet" : row.state);
    if (this.#text("badge", label)) this.nodes.badge.hidden = !label;
    if (row.state === RowState.WAITING) this.#waitsSince ??= now;
    else this.#waitsSince = undefined;
    const why = quiet ? `Quiet since ${siteClock(row.heardAt, now)}` : row.reason || this.#waits;
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
    return this.isVisible || this.#written.get("state") !== this.row.state;
  }

  get isFlashing() {
    return Boolean(this.#written.get("data-flash"));
  }

  get #waits() {
    return this.#waitsSince ? `No data yet since ${siteClock(this.#waitsSince)}` : "";
  }

  #range({ low, high, last }) {
    const isKnown = low !== undefined && high !== undefined;
    this.#number("low", isKnown ? low : undefined, format.price);
    this.#number("high", isKnown ? high : undefined, highOf);
    const place = isKnown && high > low ? Math.round(((last - low) / (high - low)) * 100) : NaN;
    if (this.#written.get("place") === place) return;
    this.#written.set("place", place);
    const { bar, mark } = this.nodes;
    bar.hidden = !Number.isFinite(place);
    if (!bar.hidden) mark.style.left = `${Math.min(100, Math.max(0, place))}%`;
  }

  #spark(row) {
    if (row.trailVersion === this.#trailVersion) return;
    this.#trailVersion = row.trailVersion;
    this.nodes.spark.setAttribute("d", pathOf(row.trail, SPARK.width, SPARK.height));
  }

  #flash() {
    if (this.row.moves === this.#moves) return;
    this.#moves = this.row.moves;
    const now = performance.now();
    const way = this.row.direction > 0 ? "up" : "down";
    if (now - this.#flashedAt >= BETWEEN_FLASHES_MS) {
      this.#flashedAt = now;
      this.#data("flash", way);
    } else if (this.#written.get("data-flash") !== way) {
      // The price has turned: a colour that says otherwise than the arrow beside it ends early.
      this.#data("flash", "");
    }
  }

  #number(field, value, written) {
    if (this.#values.has(field) && this.#values.get(field) === value) return;
    this.#values.set(field, value);
    this.#text(field, written(value, this.#decimals));
  }

  #text(field, value) {
    if (this.#written.get(field) === value) return false;
    this.#written.set(field, value);
    const node = this.nodes[field];
    // Writing to the text node itself spares the making of a new one.
    if (node.firstChild) node.firstChild.data = value;
    else node.textContent = value;
    return true;
  }

  #data(name, value) {
    const id = `data-${name}`;
    if (this.#written.get(id) === value) return;
    this.#written.set(id, value);
    this.element.setAttribute(id, value);
  }
}
