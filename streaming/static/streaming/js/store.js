/**
 * Owns the rows: one per instrument of the list and of the one beside it, its last values and how far
 * they can be trusted. No DOM and no network. Changed rows collect in a set for each table until it
 * takes them. The newest tick
 * of a live row may wait as text until somebody looks: `read` the row first.
 */

import { headOf } from "./batch_text.js";
import { remember } from "./spark.js";

export const RowState = Object.freeze({
  WAITING: "waiting", // asked for, no price yet
  LIVE: "live",
  STALE: "stale", // the price is from before the link or the feed was lost
  REFUSED: "refused",
});

/** What a symbol is that is held and has no place under the limits of its account. */
export const ROOM_WORD = "waiting for room";

// After this long without news a live price is quiet; sooner where there was plenty before.
const QUIET_AFTER_MS = 60_000;
const DRY_AFTER_MS = 25_000;
const STEADY_MS = 30_000; // of news, no two of them further apart than
const STEADY_GAP_MS = 5_000;

/** Whether the price of a live row is to be labelled quiet at `now`; its age says the rest. */
export function isQuiet(row, now) {
  const after = row.steadyMs >= STEADY_MS ? DRY_AFTER_MS : QUIET_AFTER_MS;
  return row.state === RowState.LIVE && now - row.heardAt > after;
}

export const keyOf = (exchange, symbol) => `${exchange}:${symbol}`;

const number = (value) => (Number.isFinite(value) ? value : undefined);
const positive = (value) => (Number.isFinite(value) && value > 0 ? value : undefined);

function sideOf(levels, price, size) {
  const best = Array.isArray(levels) && levels.length ? levels[0] : undefined;
  const bestPrice = positive(best ? best.price : price);
  return bestPrice === undefined
    ? { price: undefined, size: undefined }
    : { price: bestPrice, size: number(best ? best.quantity : size) };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {}; // not ours to understand; the next tick may be
  }
}

// What a row knows of prices before the first one.
const NO_VALUES = Object.freeze({
  direction: 0,
  heardAt: NaN,
  eventAt: NaN,
  last: undefined,
  change: undefined,
  changePercent: undefined,
  volume: undefined,
  bid: undefined,
  bidSize: undefined,
  ask: undefined,
  askSize: undefined,
  low: undefined,
  high: undefined,
  data: undefined, // of the last tick, as it was sent
});

export class RowStore {
  #rows = new Map(); // of the list, in its order
  #beside = new Map(); // of the list beside it; one that both have is the same row
  #all = new Map();
  #dirty = []; // a set for each table
  #heads = new Map(); // how a tick's text begins -> its row
  #isDoubted = false; // nothing proves that the link is alive: see `doubt`
  #onDirty;
  #trailOf;

  /** `trailOf(key)`: what is known of its trail so far; the row goes on with it. */
  constructor({ onDirty = () => {}, trailOf = () => [] } = {}) {
    this.#onDirty = onDirty;
    this.#trailOf = trailOf;
    this.ticks = 0;
  }

  get size() {
    return this.#rows.size;
  }

  /** Where a table finds the rows that have changed; it takes them out. */
  follow() {
    const dirty = new Set();
    this.#dirty.push(dirty);
    return dirty;
  }

  has(key) {
    return this.#rows.has(key);
  }

  /** The row of either list. */
  get(key) {
    return this.#all.get(key);
  }

  rows() {
    return [...this.#rows.values()];
  }

  besideRows() {
    return [...this.#beside.values()];
  }

  /** The rows of both lists, each once. */
  allRows() {
    return [...this.#all.values()];
  }

  /** Add an instrument `{exchange, symbol, name?, tick_size?}`; returns its row, old or new. */
  add(instrument) {
    const row = this.#hold(instrument);
    this.#rows.set(row.key, row);
    return row;
  }

  #hold({ exchange, symbol, name = "", tick_size: tickSize = undefined }) {
    const key = keyOf(exchange, symbol);
    const known = this.#all.get(key);
    if (known) return known;
    const trail = this.#trailOf(key);
    const row = {
      key,
      exchange,
      symbol,
      name,
      tickSize,
      poolId: "", // of the account that it comes from, once the server has said so
      head: headOf({ exchange, symbol }),
      unread: "", // the newest tick, when nobody has looked yet
      unreadAt: NaN,
      state: RowState.WAITING,
      reason: "",
      isDelayed: false, // the server said why no price comes
      ended: "", // in a word, why nothing has this name any more
      waitsForRoom: false, // held and without a place: a word for why it is stale
      isHeld: false, // live, were it not for the doubt about the link
      storedMs: 0, // the age of the stored price that comes first
      isFirst: true, // the next tick is the first since it was (re)subscribed: maybe an old one
      moves: 0,
      steadyMs: 0, // how long news had come without a gap when it was last heard
      ...NO_VALUES,
      decimals: 2, // shown; the table raises it
      trail, // see spark.js
      trailVersion: trail.length ? 1 : 0,
    };
    this.#all.set(key, row);
    this.#heads.set(row.head, row);
    this.#touch(row);
    return row;
  }

  /** Hold exactly these instruments, in this order; returns the rows that no list has any more. */
  replace(instruments) {
    this.#rows = this.#heldIn(instruments);
    return this.#release();
  }

  /** The same for the list beside it. */
  replaceBeside(instruments) {
    this.#beside = this.#heldIn(instruments);
    return this.#release();
  }

  #heldIn(instruments) {
    const rows = instruments.map((instrument) => this.#hold(instrument));
    return new Map(rows.map((row) => [row.key, row]));
  }

  #release() {
    const isHeld = ({ key }) => this.#rows.has(key) || this.#beside.has(key);
    const gone = this.allRows().filter((row) => !isHeld(row));
    for (const row of gone) {
      for (const dirty of this.#dirty) dirty.delete(row);
      this.#heads.delete(row.head);
      this.#all.delete(row.key);
    }
    return gone;
  }

  /** Move a row by `steps` places; false when it cannot go there. */
  move(key, steps) {
    const rows = this.rows();
    const from = rows.findIndex((row) => row.key === key);
    const to = from + steps;
    if (from < 0 || to < 0 || to >= rows.length) return false;
    rows.splice(to, 0, ...rows.splice(from, 1));
    this.#rows = new Map(rows.map((row) => [row.key, row]));
    return true;
  }

  /** Put a row before that of `nextKey`, or behind all others. */
  place(key, nextKey) {
    const row = this.#rows.get(key);
    if (!row || key === nextKey) return;
    const others = this.rows().filter((each) => each !== row);
    const at = others.findIndex((each) => each.key === nextKey);
    others.splice(at < 0 ? others.length : at, 0, row);
    this.#rows = new Map(others.map((each) => [each.key, each]));
  }

  /** Take a row out of the list; the one beside it may have it all the same. */
  remove(key) {
    const row = this.#rows.get(key);
    this.#rows.delete(key);
    this.#release();
    this.#onDirty();
    return row;
  }

  describe(key, { name, tick_size: tickSize }) {
    const row = this.#all.get(key);
    if (!row) return;
    row.name = name || row.name;
    row.tickSize = tickSize ?? row.tickSize;
    this.#touch(row);
  }

  /** The next tick of every row may be a stored one. Called when subscriptions are sent again. */
  expectSnapshots() {
    this.readAll();
    for (const row of this.#all.values()) row.isFirst = true;
  }

  refuse(key, reason) {
    const row = this.#all.get(key);
    if (!row) return;
    this.read(row); // it came before the refusal
    row.state = RowState.REFUSED;
    row.waitsForRoom = row.isHeld = false;
    row.reason = reason;
    this.#touch(row);
  }

  /** The name means nothing any more: what was shown of it is nobody's price. */
  end(key, reason, label) {
    this.refuse(key, reason);
    const row = this.#all.get(key);
    if (!row) return;
    Object.assign(row, NO_VALUES);
    row.ended = label;
    row.trail.length = 0;
    row.trailVersion += 1;
  }

  /** The server has taken the subscription, from this pool, with a stored price so old. */
  accept(key, poolId, storedMs = 0) {
    const row = this.#all.get(key);
    if (!row) return;
    if (poolId) row.poolId = poolId;
    row.storedMs = storedMs;
  }

  /** It is held, and has no place until limits are raised or others leave. */
  waitForRoom(key, reason) {
    const row = this.#all.get(key);
    if (!row) return;
    this.read(row); // it came before
    row.state = RowState.STALE;
    row.waitsForRoom = true;
    row.isHeld = false;
    row.reason = reason;
    this.#touch(row);
  }

  /** It is held, and no price comes for the reason told. */
  delay(key, reason) {
    const row = this.#all.get(key);
    if (!row || row.state === RowState.REFUSED) return;
    this.read(row); // it came before
    if (row.state === RowState.LIVE) row.state = RowState.STALE;
    row.isHeld = false;
    row.reason = reason;
    row.isDelayed = true;
    this.#touch(row);
  }

  /** It is active: whatever was said of it before is over; its next tick is news. */
  activate(key) {
    const row = this.#all.get(key);
    if (!row || (row.state !== RowState.REFUSED && !row.waitsForRoom && !row.isDelayed)) return;
    row.isDelayed = false;
    if (row.state === RowState.LIVE) return;
    row.state = row.last === undefined ? RowState.WAITING : RowState.STALE;
    row.waitsForRoom = false;
    row.reason = "";
    this.#touch(row);
  }

  /** Take back a refusal before it is asked for again. */
  await(key) {
    const row = this.#all.get(key);
    if (!row || row.state !== RowState.REFUSED) return;
    row.ended = "";
    row.state = row.last === undefined ? RowState.WAITING : RowState.STALE;
    row.reason = "";
    this.#touch(row);
  }

  /** Prices of the matching rows are no longer news. */
  markStale(reason, matches = () => true) {
    for (const row of this.#all.values()) {
      if (!matches(row) || row.state === RowState.REFUSED || row.waitsForRoom) continue;
      this.read(row); // what came before is not what makes it live again
      row.reason = reason;
      row.isHeld = false;
      if (row.state === RowState.LIVE) row.state = RowState.STALE;
      this.#touch(row);
    }
  }

  /** No price is live until `believe`, though what still comes is taken up. */
  doubt(reason) {
    this.#isDoubted = true;
    for (const row of this.#all.values()) {
      if (row.state !== RowState.LIVE) continue;
      this.read(row);
      row.state = RowState.STALE;
      row.reason = reason;
      row.isHeld = true;
      this.#touch(row);
    }
  }

  /** The doubt is over: rows are what they are, by what came before it and meanwhile. */
  believe() {
    this.#isDoubted = false;
    for (const row of this.#all.values()) {
      if (!row.isHeld) continue;
      row.isHeld = false;
      row.state = RowState.LIVE;
      row.reason = "";
      this.#touch(row);
    }
  }

  /**
   * Take a tick as the text that it came in, `head` as `batch_text.js` cuts it. While the row is live
   * it waits there unread, in the place of the one before; else it is taken at once, like `apply`.
   */
  offer(head, text, now, isTrusted) {
    const row = this.#heads.get(head);
    if (!row || row.state !== RowState.LIVE || row.isFirst) {
      this.apply(parsed(text), now, isTrusted);
      return;
    }
    this.ticks += 1;
    row.unread = text;
    row.unreadAt = now;
    this.#touch(row);
  }

  /** Take up what waits for this row; it is in `dirty` since it came. */
  read(row) {
    if (!row.unread) return;
    const { data } = parsed(row.unread);
    row.unread = "";
    if (data) this.#take(row, data, row.unreadAt);
  }

  /** Take up what waits for any row: often enough for trails and ages to be right. */
  readAll() {
    for (const row of this.#all.values()) this.read(row);
  }

  /**
   * Take one `market_data` object. `now` is the server's time in epoch ms; `isTrusted(row)` tells
   * whether the feed behind the row is live. Returns false for an instrument not in the list.
   */
  apply(message, now, isTrusted = () => true) {
    const data = message.data;
    if (!data) return false;
    const row = this.#all.get(
      keyOf(message.exchange ?? data.exchange, message.symbol ?? data.symbol),
    );
    if (!row) return false;
    this.ticks += 1;
    this.read(row);
    this.#take(row, data, now, isTrusted);
    this.#touch(row);
    return true;
  }

  #take(row, data, now, isTrusted = () => true) {
    row.data = data;
    const isNews = this.#takeValues(row, data);
    this.#judgeAge(row, positive(data.timestamp), now, isNews);
    const isSeen = row.heardAt === now && row.last !== undefined; // not a stored price
    if (isSeen && remember(row.trail, now, row.last)) row.trailVersion += 1;
    const isLive = row.state !== RowState.LIVE && (!row.isFirst || isTrusted(row));
    if (isLive && !this.#isDoubted) {
      row.state = RowState.LIVE;
      row.waitsForRoom = false;
      row.reason = "";
    } else if (row.state !== RowState.LIVE) {
      if (row.state === RowState.WAITING) row.state = RowState.STALE;
      row.isHeld ||= isLive;
    }
    row.isFirst = false;
  }

  #takeValues(row, data) {
    let isNews = false;
    const put = (field, value) => {
      if (value === undefined || row[field] === value) return;
      row[field] = value;
      isNews = true;
    };
    const last = number(data.ltp);
    if (last !== undefined && row.last !== undefined && last !== row.last) {
      row.direction = last > row.last ? 1 : -1;
      row.moves += 1;
    }
    put("last", last);
    put("low", positive(data.low));
    put("high", positive(data.high));
    put("volume", number(data.volume));
    const close = positive(data.close);
    const change = number(data.change) ?? (close && last !== undefined ? last - close : undefined);
    put("change", change);
    put(
      "changePercent",
      number(data.change_percent) ??
        (close && change !== undefined ? (change / close) * 100 : undefined),
    );
    if (data.depth || data.bid_price !== undefined || data.ask_price !== undefined) {
      const bid = sideOf(data.depth?.buy, data.bid_price, data.bid_size);
      const ask = sideOf(data.depth?.sell, data.ask_price, data.ask_size);
      isNews ||= row.bid !== bid.price || row.ask !== ask.price;
      row.bid = bid.price;
      row.bidSize = bid.size;
      row.ask = ask.price;
      row.askSize = ask.size;
    }
    return isNews;
  }

  /**
   * A stored price keeps the exchange's time; one that moves is as old as its arrival. (Brokers send
   * the last packet again on subscribe, unchanged, also when their market is closed.)
   */
  #judgeAge(row, eventAt, now, isNews) {
    if (row.isFirst || Number.isNaN(row.heardAt)) {
      // The server says how old a stored price is; not all brokers send the exchange's time.
      row.heardAt = Math.min(now - row.storedMs, eventAt ?? now);
      row.steadyMs = 0;
    } else if (isNews || (eventAt !== undefined && eventAt !== row.eventAt)) {
      const gap = now - row.heardAt;
      row.steadyMs = gap <= STEADY_GAP_MS ? row.steadyMs + gap : 0;
      row.heardAt = now;
    }
    row.eventAt = eventAt ?? row.eventAt;
  }

  #touch(row) {
    for (const dirty of this.#dirty) dirty.add(row);
    this.#onDirty();
  }
}
