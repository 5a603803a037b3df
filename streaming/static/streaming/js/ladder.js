/**
 * Owns the order book below the open row: the levels of both sides, the day's figures, and whether
 * any of it may still be believed.
 */

import * as format from "./format.js";
import { RowState } from "./store.js";

const LEVELS = 5;
const FACTS = [
  ["open", "Open", "price"],
  ["high", "High", "price"],
  ["low", "Low", "price"],
  ["close", "Previous close", "price"],
  ["avg_trade_price", "Average price", "price"],
  ["last_trade_quantity", "Last quantity", "quantity"],
  ["volume", "Volume", "quantity"],
  ["oi", "Open interest", "quantity"],
  ["total_buy_quantity", "Bids in all", "quantity"],
  ["total_sell_quantity", "Asks in all", "quantity"],
  ["ltt", "Last trade", "time"],
  ["timestamp", "Exchange time", "time"],
];
const CONTRACTS = new Set(["NFO", "BFO", "CDS", "BCD", "MCX", "NCO", "NCDEX", "NSEIX"]);
const STATES = {
  [RowState.WAITING]: "No price yet.",
  [RowState.STALE]: "stale: these figures are not current.",
  [RowState.REFUSED]: "refused: no figures arrive.",
};

/**
 * Whether there is anything to say; pure. Wires send 0 for what does not exist: a price or a time of
 * 0 is none, and only contracts have an open interest.
 */
export function isFact(value, name, kind, exchange) {
  if (!Number.isFinite(value)) return false;
  if (value === 0 && name === "oi") return CONTRACTS.has(exchange);
  return value !== 0 || kind === "quantity";
}

/** Price, quantity and orders of `count` levels of one side; pure. Missing levels are empty. */
export function levelsOf(side, count = LEVELS) {
  const known = Array.isArray(side) ? side : [];
  return Array.from({ length: count }, (_, at) => {
    const { price, quantity, orders } = known[at] ?? {};
    return price > 0 ? { price, quantity, orders } : {};
  });
}

export class Ladder {
  #nodes = {};
  #levels = [];
  #facts = new Map();
  #row = null;

  /** `onTransfer(key)`: the row is wanted in another list. */
  constructor(template, { onTransfer = () => {} } = {}) {
    this.element = template.content.firstElementChild.cloneNode(true);
    for (const node of this.element.querySelectorAll("[data-field]")) {
      this.#nodes[node.dataset.field] = node;
    }
    for (let at = 0; at < LEVELS; at += 1) this.#levels.push(this.#levelRow());
    this.#nodes.transfer.addEventListener("click", () => onTransfer(this.key));
    for (const [name, label] of FACTS) this.#facts.set(name, this.#fact(label));
  }

  /** The key of the row whose book is open, or null. */
  get key() {
    return this.#row?.key ?? null;
  }

  show(row, now) {
    this.#row = row;
    this.element.setAttribute("aria-label", `Order book of ${row.symbol}`);
    this.render(now);
  }

  hide() {
    this.#row = null;
    this.element.remove();
  }

  second(now) {
    if (this.#row) this.#status(now);
  }

  render(now) {
    const { data = {}, decimals, exchange } = this.#row;
    const bids = levelsOf(data.depth?.buy);
    const asks = levelsOf(data.depth?.sell);
    const largest = Math.max(1, ...[...bids, ...asks].map(({ quantity = 0 }) => quantity));
    this.#levels.forEach((nodes, at) => {
      write(nodes.slice(0, 3), bids[at], decimals, largest);
      write(nodes.slice(3).reverse(), asks[at], decimals, largest);
    });
    for (const [name, , kind] of FACTS) {
      const { line, value } = this.#facts.get(name);
      const raw = data[name];
      line.hidden = !isFact(raw, name, kind, exchange);
      if (line.hidden) continue;
      if (kind === "time") put(value, format.clock(raw, format.exchangeZone(exchange), { now }));
      else put(value, kind === "price" ? format.price(raw, decimals) : format.quantity(raw));
    }
    this.#nodes.book.hidden = !data.depth;
    this.#nodes.none.hidden = Boolean(data.depth);
    this.#status(now);
  }

  #status(now) {
    const { state, heardAt, reason } = this.#row;
    const age = `Last update: ${format.age(now - heardAt)}.`;
    const text = STATES[state] ?? "";
    put(this.#nodes.status, [text, text && reason ? `${reason}.` : "", age].filter(Boolean).join(" "));
    this.element.dataset.state = state;
  }

  #levelRow() {
    const line = document.createElement("tr");
    const cells = ["orders", "size", "price", "price", "size", "orders"].map((kind, at) => {
      const cell = document.createElement("td");
      cell.className = `l-${kind} ${at < 3 ? "l-bid" : "l-ask"}`;
      line.append(cell);
      return cell;
    });
    this.#nodes.levels.append(line);
    return cells;
  }

  #fact(label) {
    const line = document.createElement("div");
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    term.textContent = label;
    line.append(term, value);
    this.#nodes.facts.append(line);
    return { line, value };
  }
}

function write([orders, size, price], level, decimals, largest) {
  put(orders, Number.isFinite(level.orders) ? format.quantity(level.orders) : format.DASH);
  put(size, format.quantity(level.quantity));
  put(price, format.price(level.price, decimals));
  size.style.setProperty("--share", `${Math.round(((level.quantity ?? 0) / largest) * 100)}%`);
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
