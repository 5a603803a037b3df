/**
 * Owns what the server says about its feeds: which prices may be believed at the moment.
 * Pure: messages in, answers out.
 */

import { ROOM_WORD } from "./store.js";

// By the word of the pool's state; of `of`, " of Zerodha main", where there are several feeds; else
// of "".
const HEADLINES = {
  stale: (of) => `The feed${of} is stale: the prices marked so are not current.`,
  "login needed": (of) => `Login needed${of.replace(" of ", " for ")}: no prices${of} arrive until then.`,
  closed: (of) => `The feed${of} is closed.`,
  paused: (of) => `The feed${of} is paused.`,
  disabled: (of) => `The account${of} is disabled.`,
  "no worker": (of) => `No worker serves the feed${of}: the prices marked so are not current.`,
  "never served": (of) => `The feed${of} was never served.`,
};

const STATES = {
  live: "live",
  stale: "stale",
  auth_required: "login needed",
  closed: "closed",
  unknown: "not known",
};

// How a pool looks of which only the feed status is known; the server tells the tone of all others.
const TONES = { live: "good", stale: "warn", auth_required: "bad", closed: "bad", unknown: "warn" };

/** How a feed status is called wherever people read it: as a pool of which no more is known. */
export const stateName = (status) => STATES[status] ?? String(status).replaceAll("_", " ");

/** How a feed status looks: the tone of the state that it is called by. */
export const stateTone = (status) => TONES[status] ?? "warn";

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

/**
 * The state to show for a trouble of a pool, `{state, tone, reason}`; pure. What the server told of
 * the pool, `told`, says more than the feed status where the two fit: that there is no worker, or
 * that somebody paused it. A trouble of some symbols is no state of their pool.
 */
export function knownState({ status, reason, symbols }, told) {
  const fits = told && !symbols && told.feedStatus === status;
  if (fits && (!reason || told.state !== stateName(status))) {
    return { state: told.state, tone: told.tone, reason: told.reason };
  }
  return { state: stateName(status), tone: stateTone(status), reason: reason ?? "" };
}

/** Whether a `feed` message is of symbols that wait for room. */
const waitsForRoom = ({ symbols, reason }) =>
  Array.isArray(symbols) && String(reason).startsWith(ROOM_WORD);

export class FeedState {
  #troubles = new Set(); // the messages in force; each is of a whole pool or of named symbols
  #pools = new Set(); // ids of all pools that were spoken of: with several, a trouble names its own
  #told = new Map(); // id of a pool -> what the server said of it last, `{feedStatus, state, tone, reason}`

  /** Forget everything: a new connection is told again. */
  reset() {
    this.#troubles.clear();
    this.#pools.clear();
  }

  /** Take a `feed` message; returns true when it says that prices are live. */
  apply(message) {
    this.#pools.add(message.pool_id);
    // What the server told is of before the feed turned: until it tells again no more is known.
    const told = this.#told.get(message.pool_id);
    if (told && !message.symbols && told.feedStatus !== message.status) this.#told.delete(message.pool_id);
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

  /** Take what the server tells of all pools: it knows better than the feed status why that is so. */
  poolsTold(pools) {
    this.#told = new Map(pools.map((pool) => [pool.id, pool]));
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

  /** The trouble to tell the user about, `{status, tone, text, since}`, or null. */
  get headline() {
    // Symbols without a place are the least of troubles: what else there is comes first.
    const all = [...this.#troubles];
    const message = all.findLast((each) => !waitsForRoom(each)) ?? all.at(-1);
    if (!message) return null;
    if (waitsForRoom(message)) {
      const text = "Some symbols have no place under the limits of their account, and no price.";
      return { status: ROOM_WORD, tone: "warn", text, since: message.since };
    }
    const { state, tone, reason } = knownState(message, this.#told.get(message.pool_id));
    const why = reason ? ` ${sentence(reason)}` : "";
    return {
      status: state,
      tone,
      text: (HEADLINES[state] ?? HEADLINES.stale)(this.#ofPool(message)) + why,
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
