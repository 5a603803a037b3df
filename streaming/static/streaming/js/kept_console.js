/**
 * Owns what a reload of the console brings back: subscriptions, mode and delivery, per user, in this
 * browser. What cannot be read, or a browser without storage, is as if nothing had been kept.
 */

const MAX_KEPT = 200;
const MODES = [1, 2, 3];

const isName = (text) => typeof text === "string" && text.length > 0 && text.length <= 128;

export class KeptConsole {
  #key;
  #storage;

  /** @param {{user: string, storage: Storage | undefined}} options whose, and where */
  constructor({ user, storage }) {
    this.#key = `tickpool.console.${user}`;
    this.#storage = storage;
  }

  /** `{subscriptions: [{exchange, symbol, mode}], mode, interval}`; only what is well formed. */
  read() {
    const found = this.#parsed() ?? {};
    const listed = Array.isArray(found.subscriptions) ? found.subscriptions : [];
    return {
      subscriptions: listed
        .filter((each) => isName(each?.exchange) && isName(each.symbol) && MODES.includes(each.mode))
        .slice(0, MAX_KEPT)
        .map(({ exchange, symbol, mode }) => ({ exchange, symbol, mode })),
      mode: MODES.includes(found.mode) ? found.mode : 2,
      interval: Number.isInteger(found.interval) ? found.interval : 0,
    };
  }

  write({ subscriptions, mode, interval }) {
    const kept = { subscriptions: subscriptions.slice(0, MAX_KEPT), mode, interval };
    try {
      this.#storage?.setItem(this.#key, JSON.stringify(kept));
    } catch {
      // full or switched off: the choice then lasts as long as the page
    }
  }

  #parsed() {
    try {
      return JSON.parse(this.#storage?.getItem(this.#key) ?? "null");
    } catch {
      return null;
    }
  }
}

/** The browser's storage, or undefined where it is switched off. */
export function storage() {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined;
  }
}
