/**
 * Owns what the console has subscribed: (instrument, mode) pairs, what the server said of each, and
 * their chips. `send` takes a request and returns whether it went out; `troubleFor(item)` returns the
 * `feed` message that says what is the matter with the item's feed, or undefined.
 */

import { stateName } from "./feed.js";
import { ROOM_WORD, keyOf } from "./store.js";

export const MODES = Object.freeze({ 1: "LTP", 2: "Quote", 3: "Depth" });

const idOf = ({ exchange, symbol, mode }) => `${keyOf(exchange, symbol)}:${mode}`;

export class Chosen {
  #list;
  #none;
  #send;
  #troubleFor;
  #onChange;
  // id -> {exchange, symbol, mode, poolId, told, element, state, remove}: `told` is `[state, text]` as
  // said last of the subscription itself, `poolId` whose feed it is on, once the server has said so
  #items = new Map();

  constructor({ list, none, send, troubleFor, onChange }) {
    this.#list = list;
    this.#none = none;
    this.#send = send;
    this.#troubleFor = troubleFor;
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
    const item = { exchange, symbol, mode, poolId: "", told: ["waiting", ""] };
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
    for (const item of this.#items.values()) this.#say(item, "waiting", "not connected");
  }

  /** How a feed is has changed. */
  feedChanged() {
    for (const item of this.#items.values()) this.#show(item);
  }

  /** Take an answer to a subscribe, also one that comes later by itself. */
  answered({ subscriptions = [] }) {
    for (const answer of subscriptions) {
      const item = this.#items.get(idOf(answer));
      if (!item) continue;
      item.poolId = answer.pool_id ?? item.poolId;
      this.#say(item, ...outcomeOf(answer));
    }
    this.#onChange();
  }

  /** A tick arrived: whatever was said before, that subscription works. */
  ticked(tick) {
    const item = this.#items.get(idOf(tick));
    if (item?.told[0] === "pending") this.#say(item, "active", "active");
  }

  #subscribe(item) {
    const { exchange, symbol, mode } = item;
    const isSent = this.#send({ action: "subscribe", symbols: [{ exchange, symbol }], mode });
    this.#say(item, "waiting", isSent ? "asked for" : "not connected");
  }

  #say(item, state, text) {
    item.told = [state, text];
    this.#show(item);
  }

  /** What is active on a feed that is not live is no better than its feed. */
  #show(item) {
    const trouble = item.told[0] === "active" ? this.#troubleFor(item) : undefined;
    const reason = trouble?.reason ? `: ${trouble.reason}` : "";
    const [state, text] = trouble ? ["stale", stateName(trouble.status) + reason] : item.told;
    if (item.element.dataset.state !== state) item.element.dataset.state = state;
    if (item.state.textContent !== text) item.state.textContent = text;
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

/** `[state, text]` of one entry of an answer. One that waits for room is held. */
function outcomeOf({ status, state = "active", code, message }) {
  const why = message ?? code;
  if (status === "error" && state !== "pending") return ["refused", `refused: ${why}`];
  const word = status === "error" ? ROOM_WORD : state;
  return [state, why ? `${word}: ${why}` : word];
}
