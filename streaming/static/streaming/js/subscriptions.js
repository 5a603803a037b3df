/**
 * Owns what is asked of the server for the rows: requests in frames of bounded size, their answers,
 * and telling the user honestly what was refused and what can be done.
 */

import { quantity } from "./format.js";
import { ROOM_WORD, RowState, keyOf } from "./store.js";

const DEPTH = 3;
const PER_REQUEST = 400; // stays well below the frame limit of 64 KiB
const RETRY_AFTER_MS = 5000;
// What ends a name, in a word: asking again is of no use.
const ENDS = { SYMBOL_EXPIRED: "expired", SYMBOL_NOT_FOUND: "not listed" };
const ROOM_NOTICE = "room";

// Of another exchange a name comes with it; a symbol's own colon stands behind a digit.
const ELSEWHERE = /^([A-Z_]+):(.+)$/;

/** What a refusal offers instead, as `{exchange, symbol}`; pure. */
export function suggestionsOf({ exchange, suggestions = [] }) {
  return suggestions.slice(0, 5).map((name) => {
    const found = ELSEWHERE.exec(name);
    return found ? { exchange: found[1], symbol: found[2] } : { exchange, symbol: name };
  });
}

/** The sentence of a refusal, with the pool's numbers when it carries them apart; pure. */
export function explain(refusal) {
  const text = refusal.message || refusal.code || "the server gave no reason";
  const { used, capacity, connections, max_connections: most } = refusal.details ?? {};
  if (!Number.isFinite(capacity) || text.includes(String(capacity))) return text;
  const links = Number.isFinite(most)
    ? ` on ${quantity(connections ?? most)} of ${quantity(most)} connections`
    : "";
  return `${text} (${quantity(used ?? capacity)} of ${quantity(capacity)} symbols in use${links})`;
}

/** Where more room is made, for those who may: with the address where limits are raised. */
export function roomActions(code, limitsUrl) {
  if (code !== "MAX_CAPACITY_REACHED" || !limitsUrl) return [];
  return [{ label: "Raise the limits", run: () => location.assign(limitsUrl) }];
}

/** How many places were free when this was refused; undefined: it was not for want of them; pure. */
function freeAt({ code, state, details }) {
  const { used, capacity } = details ?? {};
  const isForRoom = code === "MAX_CAPACITY_REACHED" && state !== "pending";
  return isForRoom && Number.isFinite(capacity - used) ? capacity - used : undefined;
}

export class Subscriptions {
  #connection;
  #store;
  #notices;
  #limitsUrl;
  #onUnknown;
  #onSuggested;
  #requests = new Map();
  #nextId = 1;
  #chosen = new Set(); // added by hand and not yet answered
  #told = new Map(); // key of a notice -> the outcomes that it tells, by row
  #roomless = new Map(); // key of a row refused for want of room -> `{poolId, free}` at that time
  #retryTimer = 0;

  /** `onUnknown(key)` drops a row that does not exist; `onSuggested(instrument)` adds another. */
  /** `limitsUrl`: where limits are raised; undefined: this user may not. */
  constructor({ connection, store, notices, limitsUrl, onUnknown, onSuggested }) {
    this.#connection = connection;
    this.#store = store;
    this.#notices = notices;
    this.#limitsUrl = limitsUrl;
    this.#onUnknown = onUnknown;
    this.#onSuggested = onSuggested;
  }

  /** Ask for everything in the list: on each new connection. */
  replay() {
    this.#requests.clear();
    this.#store.expectSnapshots();
    this.#connection.send({ action: "subscribe_status", request_id: this.#id("status", []) });
    this.subscribe(this.#store.allRows());
  }

  subscribe(rows, { isChosen = false } = {}) {
    for (let start = 0; start < rows.length; start += PER_REQUEST) {
      const part = rows.slice(start, start + PER_REQUEST);
      for (const row of part) {
        this.#store.await(row.key);
        this.#roomless.delete(row.key);
        if (isChosen) this.#chosen.add(row.key);
      }
      const symbols = part.map(({ symbol, exchange }) => ({ symbol, exchange }));
      const request_id = this.#id("subscribe", part.map((row) => row.key));
      this.#connection.send({ action: "subscribe", symbols, mode: DEPTH, request_id });
    }
  }

  /** Ask again for what had no room, of pools `{id, used, capacity}` that have more by now. */
  figuresCame(pools) {
    for (const { id, used, capacity } of pools) {
      const places = capacity - used;
      const keys = [...this.#roomless]
        .filter(([, { poolId, free }]) => poolId === id && places > free)
        .map(([key]) => key)
        .slice(0, Math.max(0, places));
      for (const key of keys) this.#settle(key); // what it is refused for now is told anew
      this.#again(keys);
    }
  }

  unsubscribe(rows) {
    for (let start = 0; start < rows.length; start += PER_REQUEST) {
      const part = rows.slice(start, start + PER_REQUEST);
      for (const row of part) {
        this.#chosen.delete(row.key);
        this.#roomless.delete(row.key);
        this.#settle(row.key);
      }
      this.#connection.send({
        action: "unsubscribe",
        symbols: part.map(({ symbol, exchange }) => ({ symbol, exchange })),
        mode: DEPTH,
        request_id: this.#id("unsubscribe", []),
      });
    }
  }

  /** Take an answer to a request, or an error without one. */
  answered(message) {
    const request = this.#requests.get(message.request_id);
    this.#requests.delete(message.request_id);
    if (Array.isArray(message.subscriptions)) {
      this.#takeOutcomes(message.subscriptions);
    } else if (message.status === "error") {
      this.#takeError(message, request);
    }
  }

  #id(kind, keys) {
    const id = `${kind}-${this.#nextId++}`;
    this.#requests.set(id, { kind, keys });
    return id;
  }

  #takeOutcomes(outcomes) {
    const refused = new Map(); // key of a notice -> what it tells
    for (const outcome of outcomes) {
      const key = keyOf(outcome.exchange, outcome.symbol);
      const isChosen = this.#chosen.delete(key);
      if (outcome.status !== "error") {
        this.#store.accept(key, outcome.pool_id, outcome.last_tick_age_ms);
        if (outcome.state === "active") {
          this.#store.activate(key);
          this.#settle(key);
        } else if (outcome.message) {
          this.#store.delay(key, outcome.message);
        }
        continue;
      }
      if (!this.#store.get(key)) continue;
      if (isChosen && outcome.code === "SYMBOL_NOT_FOUND") {
        this.#tellUnknown(key, outcome);
        continue;
      }
      this.#settle(key); // one notice tells of it, the latest
      const free = freeAt(outcome);
      if (free !== undefined) this.#roomless.set(key, { poolId: outcome.pool_id, free });
      const waits = outcome.state === "pending";
      const ending = ENDS[outcome.code];
      if (waits) this.#store.waitForRoom(key, explain(outcome));
      else if (ending) this.#store.end(key, explain(outcome), ending);
      else this.#store.refuse(key, explain(outcome));
      const told = waits ? ROOM_NOTICE : `refused:${outcome.code}`;
      refused.set(told, [...(refused.get(told) ?? []), outcome]);
    }
    for (const [notice, outcomes] of refused) this.#tellRefused(notice, outcomes);
  }

  /** A symbol is active or gone: no notice goes on telling that it was refused. */
  #settle(key) {
    for (const [notice, outcomes] of this.#told) {
      if (!outcomes.delete(key)) continue;
      if (!this.#notices.isShown(notice)) this.#told.delete(notice);
      else if (outcomes.size) this.#showRefused(notice);
      else this.#notices.dismiss(notice);
    }
  }

  #tellUnknown(key, outcome) {
    this.#onUnknown(key);
    const offered = suggestionsOf(outcome);
    this.#notices.show({
      key: `unknown:${key}`,
      kind: "warning",
      title: `${key} was not added.`,
      text: explain(outcome),
      actions: offered.map((instrument) => ({
        label:
          instrument.exchange === outcome.exchange
            ? `Add ${instrument.symbol}`
            : `Add ${keyOf(instrument.exchange, instrument.symbol)}`,
        run: () => this.#onSuggested(instrument),
      })),
    });
  }

  #tellRefused(notice, outcomes) {
    const told = (this.#notices.isShown(notice) && this.#told.get(notice)) || new Map();
    for (const outcome of outcomes) told.set(keyOf(outcome.exchange, outcome.symbol), outcome);
    this.#told.set(notice, told);
    this.#showRefused(notice);
  }

  #showRefused(notice) {
    const refusals = [...this.#told.get(notice).values()];
    const names = refusals.slice(0, 3).map((item) => item.symbol).join(", ");
    const more = refusals.length > 3 ? ` and ${refusals.length - 3} more` : "";
    const keys = refusals.map((item) => keyOf(item.exchange, item.symbol));
    const { code } = refusals.at(-1);
    const remove = { label: "Remove", run: () => keys.forEach((key) => this.#onUnknown(key)) };
    const again = { label: "Try again", run: () => this.#again(keys) };
    const waits = notice === ROOM_NOTICE;
    this.#notices.show({
      key: notice,
      kind: waits ? "warning" : "error",
      title: waits ? `${names}${more}: ${ROOM_WORD}.` : `${names}${more} ${ENDS[code] ?? "refused"}.`,
      text: explain(refusals.at(-1)),
      actions: [...roomActions(code, this.#limitsUrl), ...(waits ? [] : [ENDS[code] ? remove : again])],
    });
  }

  #takeError(message, request) {
    if (request?.kind === "status") return; // feed states are a courtesy, prices come without
    const isLimited = message.code === "RATE_LIMITED";
    const keys = request?.keys ?? [];
    if (isLimited && keys.length) {
      clearTimeout(this.#retryTimer);
      const delay = Number(message.retry_after) * 1000 || RETRY_AFTER_MS;
      this.#retryTimer = setTimeout(() => this.#again(keys), delay);
    } else {
      for (const key of keys) this.#store.refuse(key, explain(message));
    }
    this.#notices.show({
      key: `error:${message.code}`,
      kind: isLimited ? "warning" : "error",
      title: isLimited ? "Too many requests; asking again shortly." : "The server refused a request.",
      text: explain(message),
      actions:
        keys.length && !isLimited ? [{ label: "Try again", run: () => this.#again(keys) }] : [],
    });
  }

  #again(keys) {
    const rows = keys.map((key) => this.#store.get(key)).filter(Boolean);
    this.subscribe(rows.filter((row) => row.state !== RowState.LIVE));
  }
}
