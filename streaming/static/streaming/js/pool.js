/**
 * Owns the capacity strip: asks /api/pools every few seconds and shows what each pool uses.
 */

import { fetchPools } from "./api.js";
import { knownState, stateName, stateTone } from "./feed.js";
import { count, quantity } from "./format.js";
import { SILENT_AFTER_MS } from "./link.js";
import { ROOM_WORD } from "./store.js";

const EVERY_MS = 5000;
const SOON_MS = 1500; // a worker writes its figures about once a second
const SETTLING_MS = 2500; // after a feed has turned its figures go on moving
const NEARLY_FULL = 0.9;
// A connection in one of these has an open socket.
const UP = new Set(["subscribing", "live", "stale"]);

const LIVE = stateName("live");
const LOGIN_NEEDED = stateName("auth_required");
// What the server calls a pool that is ready and of which nobody wants anything.
const IDLE = "idle";

const finite = (...values) => values.find(Number.isFinite);

/**
 * The figures of `get_broker_info`, straight from the workers: `{id, used, connections}` for each
 * pool that answered; pure.
 */
export function figuresOf({ accounts = [] }) {
  return accounts
    .filter(({ usage }) => usage)
    .map(({ pool_id: id, usage: { used, connections, trying = 0 } }) => ({
      id,
      used,
      connections,
      trying,
    }));
}

/**
 * What a pool of the API means for the person `username`; pure. Missing figures stay undefined, as
 * are those of a pool that no worker serves: nobody counts them. The owner is named only where it is
 * someone else.
 */
export function summarize(stats, username) {
  const isList = Array.isArray(stats.connections);
  const used = finite(stats.used, 0);
  const connections = isList
    ? stats.connections.filter(({ state }) => UP.has(state)).length
    : finite(stats.connections, 0);
  const trying = isList ? stats.connections.length - connections : 0;
  const perConnection = stats.symbols_per_connection;
  const capacity = finite(stats.capacity, perConnection * stats.max_connections);
  const state = stats.status ?? stateName("unknown");
  const pool = {
    id: String(stats.pool_id),
    title: `${stats.broker.charAt(0).toUpperCase()}${stats.broker.slice(1)} pool`,
    account: [stats.username === username ? "" : stats.username, stats.label]
      .filter(Boolean)
      .join(" \u00b7 "),
    isOwn: stats.username === username,
    isDisabled: stats.enabled === false,
    writtenAgoMs: finite(stats.heartbeat_age_ms, Infinity),
    feedStatus: stats.feed_status,
    state,
    tone: stats.tone ?? "warn",
    reason: state === LIVE ? "" : (stats.reason ?? ""),
    used,
    capacity,
    connections,
    trying,
    maxConnections: stats.max_connections,
  };
  return stats.is_served === false ? withoutCounts(pool) : pool;
}

/** The pool where nobody can say what it uses at the moment; pure. */
function withoutCounts(pool) {
  return { ...pool, used: undefined, connections: undefined, trying: 0 };
}

/** The pool when nothing proves that what was told of it still holds, for the reason `why`; pure. */
export function withoutWord(pool, { status, why }) {
  return { ...pool, state: stateName(status), tone: stateTone(status), reason: why };
}

/**
 * The pool with what is the matter with its feed; pure. Whatever was written of it: the socket tells
 * sooner, and the rows and the banner say the same.
 */
export function withTrouble(pool, trouble) {
  return trouble ? { ...pool, ...knownState(trouble, pool) } : pool;
}

/** The pool whose feed lives again, where the figures are from before; pure. */
function withoutTrouble(pool) {
  return { ...pool, state: LIVE, tone: stateTone(LIVE), reason: "" };
}

export class PoolStrip {
  #region;
  #template;
  #username;
  #onSignedOut;
  #troubleOf;
  #onFigures;
  #fold;
  #isUnfolded = false; // by the user
  #pools = []; // as they were told last
  #toldAt = 0; // when, by performance.now()
  #counted = []; // by the workers when they were asked last: see `figuresOf`
  #countedAt = -Infinity; // when, by performance.now()
  // Id of a pool -> what the socket said last of its feed: `{isLive, saidAt, turnedAt}`, when by
  // performance.now(); `turnedAt` is since when it is so, where it has been seen to change.
  #said = new Map();
  #doubt = null; // why nothing that was told is current, `{status, why}`
  #link = ""; // what is the matter with the socket; "" while it is believed
  #views = new Map();
  #timer = 0;

  /**
   * `troubleOf(id)`: the `feed` message that says what is the matter with that pool, or undefined.
   * `onFigures(pools)`: called with what was told of all pools, each time.
   * `fold`, `{button, text}`: where room is short it hides the cards while all is well.
   */
  constructor({ region, template, username, onSignedOut, troubleOf, onFigures, fold }) {
    this.#region = region;
    this.#template = template;
    this.#username = username;
    this.#onSignedOut = onSignedOut;
    this.#troubleOf = troubleOf;
    this.#onFigures = onFigures;
    this.#fold = fold;
    fold.button.addEventListener("click", () => {
      this.#isUnfolded = !this.#isUnfolded;
      this.#showFold();
    });
  }

  start() {
    this.stop();
    this.#poll();
  }

  /** The figures are about to change: ask when they have, not at the next turn. */
  soon() {
    this.#askIn(SOON_MS);
  }

  /** Take what the workers counted: newer than anything that was written before. */
  counted(message) {
    this.#counted = figuresOf(message);
    this.#countedAt = performance.now();
    this.#writeAll();
  }

  /** A feed has changed, by this message: show it at once, and ask for the figures. */
  feedChanged({ pool_id: id, status }) {
    const isLive = status === "live";
    // What was told of why the feed was as it was is of before; see `knownState`.
    const told = this.#pools.find((pool) => pool.id === id);
    if (told && told.feedStatus !== status) told.feedStatus = undefined;
    const before = this.#said.get(id);
    const saidAt = performance.now();
    const isTurn = isLive !== (before?.isLive ?? true);
    this.#said.set(id, { isLive, saidAt, turnedAt: isTurn ? saidAt : (before?.turnedAt ?? -Infinity) });
    this.#writeAll();
    this.soon();
  }

  /** What is the matter with the link, "" when nothing is: what it says of rows holds for pools. */
  linkChanged(why) {
    if (why === this.#link) return;
    this.#link = why;
    if (why) this.#said.clear();
    this.#judge();
  }

  /** Once a second: figures grow old by themselves. */
  second() {
    this.#judge();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #askIn(milliseconds) {
    this.stop();
    this.#timer = setTimeout(() => this.#poll(), milliseconds);
  }

  async #poll() {
    this.stop();
    try {
      const pools = await fetchPools();
      this.#show(pools.map((pool) => summarize(pool, this.#username)));
    } catch (error) {
      if (error.isSignedOut) return this.#onSignedOut();
      this.#toldAt = -Infinity;
      this.#note("Capacity figures are not available; asking again.");
      this.#judge();
    }
    const settled = performance.now() - SETTLING_MS;
    this.#askIn([...this.#said.values()].some(({ turnedAt }) => turnedAt > settled) ? SOON_MS : EVERY_MS);
  }

  #judge() {
    const isOld = performance.now() - this.#toldAt > EVERY_MS + SILENT_AFTER_MS;
    const doubt = this.#link
      ? { status: "stale", why: this.#link }
      : isOld ? { status: "unknown", why: "its figures cannot be had at the moment" } : null;
    if (doubt?.why === this.#doubt?.why) return;
    this.#doubt = doubt;
    this.#writeAll();
  }

  #writeAll() {
    this.#region.dataset.state = this.#doubt ? "old" : "current";
    for (const pool of this.#pools) {
      if (!pool.isDisabled) this.#write(this.#viewOf(pool.id), pool);
    }
    this.#showFold();
  }

  /** Trouble is never folded away. */
  #showFold() {
    const shown = this.#pools.filter(({ isDisabled }) => !isDisabled).map((pool) => this.#shown(pool));
    const isWell = shown.length > 0 && shown.every(({ state }) => state === LIVE || state === IDLE);
    const [first] = shown;
    const isOne = shown.length === 1 && Number.isFinite(first.capacity);
    this.#fold.text.textContent = isOne
      ? `${quantity(first.used)} of ${quantity(first.capacity)}`
      : count(shown.length, "pool");
    this.#fold.button.hidden = !isWell;
    this.#fold.button.setAttribute("aria-expanded", String(this.#isUnfolded));
    this.#region.toggleAttribute("data-folded", isWell && !this.#isUnfolded);
  }

  #show(pools) {
    this.#pools = pools;
    this.#toldAt = performance.now();
    this.#judge();
    const disabled = pools.filter(({ isDisabled }) => isDisabled);
    const names = disabled.map(({ title, account }) => [title, account].filter(Boolean).join(" "));
    const isNone = !pools.length;
    this.#note(
      isNone ? "No broker account yet, so there is no pool to show." : "",
      names.length ? `Disabled: ${names.join(", ")}.` : "",
    );
    const gone = new Set(this.#views.keys());
    for (const { id, isDisabled } of pools) if (!isDisabled) gone.delete(id);
    for (const id of gone) {
      this.#views.get(id).element.remove();
      this.#views.delete(id);
    }
    this.#writeAll();
    this.#onFigures(pools);
  }

  #viewOf(id) {
    let view = this.#views.get(id);
    if (!view) {
      const element = this.#template.content.firstElementChild.cloneNode(true);
      const nodes = {};
      for (const node of element.querySelectorAll("[data-field]")) nodes[node.dataset.field] = node;
      view = { element, nodes };
      this.#views.set(id, view);
      this.#region.querySelector("[data-field=disabled]").before(element);
    }
    return view;
  }

  #write({ element, nodes }, told) {
    const pool = this.#shown(told);
    const isLimited = Number.isFinite(pool.capacity);
    const symbols = isLimited
      ? `${quantity(pool.used)} of ${quantity(pool.capacity)} symbols`
      : count(pool.used, "symbol");
    const connections = Number.isFinite(pool.maxConnections)
      ? `${quantity(pool.connections)} of ${count(pool.maxConnections, "connection")}`
      : count(pool.connections, "connection");
    const trying = pool.trying ? `, ${quantity(pool.trying)} trying` : "";
    element.dataset.status = pool.state;
    element.dataset.tone = pool.tone;
    const share = pool.capacity > 0 ? Math.min(1, (pool.used ?? 0) / pool.capacity) : 0;
    element.dataset.full = String(share >= NEARLY_FULL);
    nodes.title.textContent = pool.title;
    nodes.account.textContent = pool.account;
    nodes.state.textContent = pool.state;
    nodes.reason.textContent = pool.reason;
    nodes.login.hidden = !(pool.isOwn && pool.state === LOGIN_NEEDED);
    nodes.login.href = `/brokers/#account-${pool.id}`;
    nodes.symbols.textContent = symbols;
    nodes.connections.textContent = connections + trying;
    nodes.meter.setAttribute("aria-label", `Capacity used of ${pool.title} ${pool.account}`);
    nodes.meter.setAttribute("aria-valuemax", String(isLimited ? pool.capacity : (pool.used ?? 0)));
    nodes.meter.setAttribute("aria-valuenow", String(pool.used ?? 0));
    nodes.meter.setAttribute("aria-valuetext", symbols);
    nodes.fill.hidden = share === 0; // else even nothing has a sliver
    nodes.fill.style.width = `${(share * 100).toFixed(2)}%`;
  }

  #shown(pool) {
    const told = this.#counting(pool);
    if (this.#doubt) return withoutWord(told, this.#doubt);
    // Of an own pool the socket tells sooner: what is wrong with it, and that it is over.
    const isLive = [LIVE, IDLE, ROOM_WORD].includes(told.state);
    const said = this.#said.get(told.id);
    const isOver = !isLive && said?.isLive && said.saidAt > this.#writtenAt(told);
    return withTrouble(isOver ? withoutTrouble(told) : told, this.#troubleOf(told.id));
  }

  #writtenAt({ writtenAgoMs }) {
    return this.#toldAt - writtenAgoMs;
  }

  /**
   * With the workers' own count, where what was written is older. With none where both are from
   * before the feed turned: its worker may have gone, or come.
   */
  #counting(pool) {
    const counted = this.#counted.find(({ id }) => id === pool.id);
    const isCounted = counted !== undefined && this.#writtenAt(pool) <= this.#countedAt;
    const at = isCounted ? this.#countedAt : this.#writtenAt(pool);
    if (at < this.#said.get(pool.id)?.turnedAt) return withoutCounts(pool);
    if (!isCounted) return pool;
    const { used, connections, trying } = counted;
    return { ...pool, used, connections, trying };
  }

  #note(text, disabled = "") {
    for (const [field, said] of [["note", text], ["disabled", disabled]]) {
      const note = this.#region.querySelector(`[data-field=${field}]`);
      note.textContent = said;
      note.hidden = !said;
    }
  }
}
