/**
 * Owns what the console has subscribed: (instrument, mode) pairs, what the server said of each, and
 * their chips. `send` takes a request and returns whether it went out.
 */

import { keyOf } from "./store.js";

export const MODES = Object.freeze({ 1: "LTP", 2: "Quote", 3: "Depth" });

const idOf = ({ exchange, symbol, mode }) => `${keyOf(exchange, symbol)}:${mode}`;

export class Chosen {
  #list;
  #none;
  #send;
  #onChange;
  #items = new Map(); // id -> {exchange, symbol, mode, element, state, remove}

  constructor({ list, none, send, onChange }) {
    this.#list = list;
    this.#none = none;
    this.#send = send;
    this.#onChange = onChange;
  }

  /** `[{exchange, symbol, mode}]` in the order of choice, without what was refused. */
  get subscriptions() {
    return [...this.#items.values()]
      .filter(({ element }) => element.dataset.state !== "refused")
      .map(({ exchange, symbol, mode }) => ({ exchange, symbol, mode }));
  }

  has(item) {
    return this.#items.has(idOf(item));
  }

  add({ exchange, symbol, mode }) {
    const item = { exchange, symbol, mode };
    if (this.has(item)) return;
    this.#chip(item);
    this.#items.set(idOf(item), item);
    this.#subscribe(item);
    this.#changed();
  }

  /** Ask for everything again: on each new connection. */
  replay() {
    for (const item of this.#items.values()) this.#subscribe(item);
  }

  /** The connection is lost: nothing arrives for any of it. */
  lost() {
    for (const item of this.#items.values()) say(item, "waiting", "not connected");
  }

  /** Take an answer to a subscribe, also one that comes later by itself. */
  answered({ subscriptions = [] }) {
    for (const answer of subscriptions) {
      const item = this.#items.get(idOf(answer));
      if (!item) continue;
      if (answer.status !== "error") say(item, "active", answer.state ?? "active");
      else say(item, "refused", `refused: ${answer.message ?? answer.code}`);
    }
    this.#onChange();
  }

  /** A tick arrived: whatever was said before, that subscription works. */
  ticked(tick) {
    const item = this.#items.get(idOf(tick));
    if (item && item.state.textContent === "pending") say(item, "active", "active");
  }

  #subscribe(item) {
    const { exchange, symbol, mode } = item;
    const isSent = this.#send({ action: "subscribe", symbols: [{ exchange, symbol }], mode });
    say(item, "waiting", isSent ? "asked for" : "not connected");
  }

  #remove(item) {
    this.#items.delete(idOf(item));
    item.element.remove();
    this.#unsubscribe(item);
    this.#changed();
  }

  #unsubscribe({ exchange, symbol, mode }) {
    this.#send({ action: "unsubscribe", symbols: [{ exchange, symbol }], mode });
  }

  /** Ask for the new mode before the old one is let go, so that nothing is missed between them. */
  #changeMode(item, mode) {
    const before = { exchange: item.exchange, symbol: item.symbol, mode: item.mode };
    if (this.has({ ...before, mode })) {
      this.#remove(item);
      return;
    }
    this.#items = new Map(
      [...this.#items].map(([id, each]) => (each === item ? [idOf({ ...before, mode }), item] : [id, each])),
    );
    item.mode = mode;
    item.remove.setAttribute("aria-label", `Unsubscribe ${item.symbol} ${MODES[mode]}`);
    this.#subscribe(item);
    this.#unsubscribe(before);
    this.#changed();
  }

  #chip(item) {
    const element = document.createElement("li");
    const name = part("span", "symbol-name");
    name.textContent = keyOf(item.exchange, item.symbol);
    const mode = part("select", "mode");
    for (const [value, label] of Object.entries(MODES)) mode.add(new Option(label, value));
    mode.value = String(item.mode);
    mode.setAttribute("aria-label", `Mode of ${item.symbol}`);
    mode.addEventListener("change", () => this.#changeMode(item, Number(mode.value)));
    const state = part("span", "state");
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "icon-button";
    remove.textContent = "\u00d7";
    remove.setAttribute("aria-label", `Unsubscribe ${item.symbol} ${MODES[item.mode]}`);
    remove.addEventListener("click", () => this.#remove(item));
    element.append(name, mode, state, remove);
    this.#list.append(element);
    Object.assign(item, { element, state, remove });
  }

  #changed() {
    this.#none.hidden = this.#items.size > 0;
    this.#onChange();
  }
}

function part(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}

function say({ element, state }, name, text) {
  element.dataset.state = name;
  state.textContent = text;
}
