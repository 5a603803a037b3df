/**
 * Owns what the server says about its feeds: which prices may be believed at the moment.
 * Pure: messages in, answers out.
 */

import { ROOM_WORD } from "./store.js";

// Of `of`, " of Zerodha main", where there are several feeds; else of "".
const HEADLINES = {
  stale: (of) => `The feed${of} is stale: the prices marked so are not current.`,
  auth_required: (of) => `The broker wants a new login${of.replace(" of ", " for ")}; no prices${of} arrive until then.`,
  closed: (of) => `The feed${of} is closed.`,
};

const STATES = {
  live: "live",
  stale: "stale",
  auth_required: "login needed",
  closed: "closed",
  unknown: "not known",
};

/** How a state of a feed or pool is called wherever people read it. */
export const stateName = (status) => STATES[status] ?? String(status).replaceAll("_", " ");

/**
 * Return the test whether a row is meant by a `feed` message: all of its pool's, or those named. One
 * of which no pool is known yet is meant by every message.
 */
export function scopeOf({ exchange, symbols, pool_id: poolId }) {
  const isOfPool = (row) => !poolId || !row.poolId || row.poolId === poolId;
  if (!Array.isArray(symbols)) return isOfPool;
  const names = new Set(symbols);
  return (row) => row.exchange === exchange && names.has(row.symbol) && isOfPool(row);
}

/** Whether a `feed` message is of symbols that wait for room. */
const waitsForRoom = ({ symbols, reason }) =>
  Array.isArray(symbols) && String(reason).startsWith(ROOM_WORD);

export class FeedState {
  #troubles = new Set(); // the messages in force; each is of a whole pool or of named symbols
  #pools = new Set(); // ids of all pools that were spoken of: with several, a trouble names its own

  /** Forget everything: a new connection is told again. */
  reset() {
    this.#troubles.clear();
    this.#pools.clear();
  }

  /** Take a `feed` message; returns true when it says that prices are live. */
  apply(message) {
    this.#pools.add(message.pool_id);
    for (const trouble of [...this.#troubles]) {
      if (trouble.pool_id !== message.pool_id) continue;
      // What is said of a whole pool replaces everything said of it; named symbols, only those.
      if (!message.symbols) this.#troubles.delete(trouble);
      else if (trouble.symbols && trouble.exchange === message.exchange) {
        this.#withdraw(trouble, message.symbols);
      }
    }
    const isLive = message.status === "live";
    if (!isLive) this.#troubles.add(message);
    return isLive;
  }

  /** Whether a stored price of this row may be shown as live. */
  isTrusted(row) {
    return this.troubleFor(row) === undefined;
  }

  /** What is the matter with the whole feed of a pool; undefined when it is live. */
  troubleOf(poolId) {
    return [...this.#troubles].find((each) => !each.symbols && each.pool_id === poolId);
  }

  /** What is the matter with the feed of one row, or undefined. */
  troubleFor(row) {
    return [...this.#troubles].find((message) => scopeOf(message)(row));
  }

  /** The trouble to tell the user about, `{status, text, since}`, or null. */
  get headline() {
    // Symbols without a place are the least of troubles: what else there is comes first.
    const all = [...this.#troubles];
    const message = all.findLast((each) => !waitsForRoom(each)) ?? all.at(-1);
    if (!message) return null;
    if (waitsForRoom(message)) {
      const text = "Some symbols have no place under the limits of their account, and no price.";
      return { status: ROOM_WORD, text, since: message.since };
    }
    const reason = message.reason ? ` ${sentence(message.reason)}` : "";
    return {
      status: message.status,
      text: (HEADLINES[message.status] ?? HEADLINES.stale)(this.#ofPool(message)) + reason,
      since: message.since,
    };
  }

  #ofPool({ broker = "", account = "" }) {
    if (this.#pools.size < 2) return "";
    return ` of ${broker.charAt(0).toUpperCase()}${broker.slice(1)} ${account}`.trimEnd();
  }

  #withdraw(trouble, symbols) {
    const left = trouble.symbols.filter((symbol) => !symbols.includes(symbol));
    this.#troubles.delete(trouble);
    if (left.length) this.#troubles.add({ ...trouble, symbols: left });
  }
}

function sentence(text) {
  const trimmed = String(text).trim();
  const first = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
