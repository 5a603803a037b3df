/**
 * Owns the remembered list: the server's copy, and this browser's where the server has none.
 * What the list means on screen belongs to the store; this only loads and saves names.
 */

import { ApiError, fetchWatchlist, findExactly, findInstruments, saveWatchlist } from "./api.js";

const SAVE_AFTER_MS = 300;

/** What a new user sees first, as far as the instruments are known. */
const DEFAULTS = [
  ["NSE_INDEX", "NIFTY"],
  ["NSE_INDEX", "BANKNIFTY"],
  ["NSE", "RELIANCE"],
  ["NSE", "TCS"],
  ["NSE", "INFY"],
  ["NSE", "SBIN"],
  ["NSE", "HDFCBANK"],
  ["NSE", "ICICIBANK"],
  ["NSE", "ITC"],
];

/** The default list, with names and tick sizes; the first instruments there are when none of it is. */
export async function defaultInstruments() {
  const found = await Promise.all(DEFAULTS.map(([exchange, symbol]) => findExactly(exchange, symbol)));
  const known = found.filter(Boolean);
  return known.length ? known : findInstruments({ limit: 8 });
}

export class Watchlist {
  #storageKey;
  #onSaveFailed;
  #timer = 0;
  #pending = null;
  #failing = false;

  constructor({ userId, onSaveFailed = () => {} }) {
    this.#storageKey = `tickpool.watchlist.${userId}`;
    this.#onSaveFailed = onSaveFailed;
  }

  /** Returns `{symbols, isChosen}`; not chosen means that the user never had a list. */
  async load() {
    const local = this.#readLocal();
    if (local?.unsaved) {
      this.save(local.symbols); // the server missed the last change: this copy is the newer one
      return { symbols: local.symbols, isChosen: true };
    }
    try {
      const symbols = await fetchWatchlist();
      return { symbols, isChosen: symbols.length > 0 || Boolean(local?.emptied) };
    } catch (error) {
      if (error instanceof ApiError && error.isSignedOut) throw error;
      return { symbols: local?.symbols ?? [], isChosen: Boolean(local) };
    }
  }

  /** Remember the list soon; a burst of changes becomes one request. */
  save(rows) {
    this.#pending = rows.map(({ exchange, symbol }) => ({ exchange, symbol }));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), SAVE_AFTER_MS);
  }

  /** Remember it now; `keepalive` lets the request outlive the page. */
  async flush({ keepalive = false } = {}) {
    clearTimeout(this.#timer);
    const symbols = this.#pending;
    if (!symbols) return;
    this.#pending = null;
    this.#writeLocal({ symbols, emptied: symbols.length === 0, unsaved: true });
    try {
      await saveWatchlist(symbols, { keepalive });
    } catch (error) {
      if (!this.#failing) this.#onSaveFailed(error);
      this.#failing = true;
      return;
    }
    this.#failing = false;
    if (!this.#pending) {
      this.#writeLocal({ symbols, emptied: symbols.length === 0, unsaved: false });
    }
  }

  #readLocal() {
    try {
      const value = JSON.parse(localStorage.getItem(this.#storageKey));
      return Array.isArray(value?.symbols) ? value : null;
    } catch {
      return null; // storage may be switched off
    }
  }

  #writeLocal(value) {
    try {
      localStorage.setItem(this.#storageKey, JSON.stringify(value));
    } catch {
      // storage may be full or switched off: the server's copy is the one that counts
    }
  }
}
