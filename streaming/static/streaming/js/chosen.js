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
  #items = new Map(); // id -> {exchange, symbol, mode, element, state}

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
    Object.assign(item, this.#chip(item));
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
    const { exchange, symbol, mode } = item;
    this.#items.delete(idOf(item));
    item.element.remove();
    this.#send({ action: "unsubscribe", symbols: [{ exchange, symbol }], mode });
    this.#changed();
  }

  #chip(item) {
    const element = document.createElement("li");
    const parts = {};
    for (const [name, text] of [
      ["symbol-name", keyOf(item.exchange, item.symbol)],
      ["mode", MODES[item.mode]],
      ["state", ""],
    ]) {
      parts[name] = document.createElement("span");
      parts[name].className = name;
      parts[name].textContent = text;
      element.append(parts[name]);
    }
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "icon-button";
    remove.textContent = "\u00d7";
    remove.setAttribute("aria-label", `Unsubscribe ${item.symbol} ${MODES[item.mode]}`);
    remove.addEventListener("click", () => this.#remove(item));
    element.append(remove);
    this.#list.append(element);
    return { element, state: parts.state };
  }

  #changed() {
    this.#none.hidden = this.#items.size > 0;
    this.#onChange();
  }
}

function say({ element, state }, name, text) {
  element.dataset.state = name;
  state.textContent = text;
}
