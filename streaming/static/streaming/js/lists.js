/**
 * Owns the remembered lists: the server's copy, this browser's where the server has missed a change,
 * and which of them is shown. What a list means on screen belongs to the store and the table.
 */

import { ApiError, changeList, createList, deleteList, fetchLists, findExactly, searchInstruments } from "./api.js";

const SAVE_AFTER_MS = 300;
const MAX_SYMBOLS = 1000; // as many as the server keeps
const FIRST_NAME = "Main";

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

/**
 * The default list, with names and tick sizes; the first instruments there are when none of it is,
 * and why there are none at all: `{results, reason}`.
 */
export async function defaultInstruments() {
  const found = await Promise.all(DEFAULTS.map(([exchange, symbol]) => findExactly(exchange, symbol)));
  const known = found.filter(Boolean);
  return known.length ? { results: known, reason: "" } : searchInstruments({ limit: 8 });
}

const namesOf = (rows) => rows.map(({ exchange, symbol }) => ({ exchange, symbol }));

/**
 * The server's lists with what it missed of this browser's: those changes are the newer ones. A list
 * without an id was never answered for; the server may have it all the same, by its name. Pure.
 */
export function merge(lists, local) {
  const missed = local.filter((each) => each.unsaved);
  const merged = lists.map((list) => {
    const newer = missed.find(({ id, name }) => (id === null ? name === list.name : id === list.id));
    if (!newer) return list;
    return { ...list, symbols: newer.symbols, view: newer.view ?? list.view, unsaved: true };
  });
  return merged.length ? merged : missed.filter((each) => each.id === null);
}

/**
 * Whether two objects are one list: a reload makes new ones, and a list has no id until its first save
 * was answered; till then its name, of which a user has one, tells. Pure.
 */
export const isSame = (one, other) =>
  one === other || (one.id === null || other.id === null ? one.name === other.name : one.id === other.id);

/** Names with others that are not among them behind. */
function joined(names, others) {
  const isNew = ({ exchange, symbol }) => !names.some((each) => each.exchange === exchange && each.symbol === symbol);
  return [...names, ...others.filter(isNew)];
}

const contentsOf = ({ symbols, view = {} }) => ({ symbols, view });

/** Store a list for the first time and return its id; the answer to an earlier try may be lost. */
async function make(list, options) {
  try {
    return (await createList(list, options)).id;
  } catch (error) {
    const made = error.status === 409 && (await fetchLists()).find(({ name }) => name === list.name);
    if (!made) throw error;
    await changeList(made.id, contentsOf(list), options);
    return made.id;
  }
}

export class Lists {
  #storageKey;
  #onSaveFailed;
  #onChange;
  #timer = 0;
  #pending = null; // the list whose symbols wait to be saved
  #saving = Promise.resolve(); // one after the other: a list is made before it is changed
  #failing = false;
  #changes = 0; // made here: what was fetched before the last of them is old
  #hasLoaded = false;
  #early = []; // the instruments of the page before the lists had come
  #otherTabs;

  /**
   * `onChange()`: the lists, their names or the current one changed. `onElsewhere()`: another tab
   * of this browser changed a list; `reload` brings it here. `onSaveFailed(error)`: once per series.
   */
  constructor({ userId, onSaveFailed = () => {}, onChange = () => {}, onElsewhere = () => {} }) {
    this.#storageKey = `tickpool.lists.${userId}`;
    this.#onSaveFailed = onSaveFailed;
    this.#onChange = onChange;
    this.#otherTabs = new BroadcastChannel(this.#storageKey);
    this.#otherTabs.onmessage = () => onElsewhere();
    this.lists = [];
    this.current = null;
  }

  /** Fetch the lists and return the current one; null for a user who has none yet. */
  async load() {
    const { fetched, local } = await this.#fetch();
    this.lists = merge(fetched ?? local.lists, local.lists);
    this.current = this.#find(this.current?.id ?? local.current) ?? this.lists[0] ?? null;
    this.#hasLoaded = true;
    this.#changed();
    for (const list of this.lists) if (list.unsaved) this.#store(list);
    this.#takeEarly();
    return this.current;
  }

  /** Make a list the current one and return it; null when it is that. `onSwitched()`: before anybody else hears. */
  select(id, onSwitched = () => {}) {
    const list = this.#find(id);
    if (!list || list === this.current) return null;
    this.flush();
    this.current = list;
    onSwitched();
    this.#changed();
    return list;
  }

  /**
   * Make a list. The current one stays until `select`: whoever waits may have gone on with it.
   * Throws ApiError with the server's reason.
   */
  async create(name, symbols = [], view = {}) {
    const made = await createList({ name, symbols: namesOf(symbols), view });
    this.#changes += 1;
    if (!this.#find(made.id)) this.lists.push(made); // else `load` was faster
    this.#changed({ isShared: true });
    return made.id;
  }

  /** Throws ApiError with the server's reason. */
  async rename(name) {
    const { id } = this.current;
    const changed = await changeList(id, { name });
    this.#changes += 1;
    const list = this.#find(id);
    if (list) list.name = changed.name;
    this.#changed({ isShared: true });
  }

  /**
   * Delete the current list and return the one to show instead; null when another one has been
   * chosen meanwhile. Throws ApiError, and the list is what it was.
   */
  async remove() {
    const { id } = this.current;
    await this.flush();
    try {
      await deleteList(id);
    } catch (error) {
      if (error.status !== 404) throw error; // another tab deleted it first
    }
    this.#changes += 1;
    if (this.#pending?.id === id) this.#pending = null;
    const wasCurrent = this.current?.id === id;
    const place = this.lists.findIndex((list) => list.id === id);
    if (place >= 0) this.lists.splice(place, 1);
    if (wasCurrent) this.current = this.lists[Math.min(place, this.lists.length - 1)] ?? null;
    this.#changed({ isShared: true });
    return wasCurrent ? this.current : null;
  }

  /**
   * Remember the current list's symbols soon; a burst of changes becomes one request. What is there
   * before the lists have come is put behind those of the one that is shown then.
   */
  save(rows) {
    if (this.#hasLoaded) this.#saveSoon({ symbols: namesOf(rows) });
    else this.#early = namesOf(rows);
  }

  /** Remember how the current list is looked at; before the lists have come there is none. */
  look(view) {
    if (this.#hasLoaded) this.#saveSoon({ view });
  }

  /** Whether `list`, as it was seen some time ago, is the one that is shown. */
  isCurrent(list) {
    return this.current !== null && isSame(this.current, list);
  }

  /**
   * Put instruments behind those of `seen`, a list as it was seen some time ago. Throws RangeError when
   * it is gone or they have no room there.
   */
  extend(seen, instruments) {
    const list = this.lists.find((each) => isSame(each, seen));
    if (!list) throw new RangeError("That list is gone");
    const symbols = joined(list.symbols, namesOf(instruments));
    if (symbols.length > MAX_SYMBOLS) throw new RangeError(`A list holds ${MAX_SYMBOLS} instruments at most`);
    this.#changes += 1;
    Object.assign(list, { symbols, unsaved: true });
    this.#writeLocal();
    this.#store(list);
    this.#onChange();
  }

  #takeEarly() {
    const early = this.#early;
    this.#early = [];
    if (!early.length) return;
    const symbols = joined(this.current?.symbols ?? [], early).slice(0, MAX_SYMBOLS);
    this.#saveSoon({ symbols });
  }

  #saveSoon(change) {
    if (!this.current) this.#begin();
    if (this.#pending !== this.current) this.flush(); // another list's change waits
    this.#changes += 1;
    Object.assign(this.current, change, { unsaved: true });
    this.#pending = this.current;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), SAVE_AFTER_MS);
    this.#onChange();
  }

  /** Remember it now; `keepalive` lets the request outlive the page. */
  flush({ keepalive = false } = {}) {
    clearTimeout(this.#timer);
    const list = this.#pending;
    this.#pending = null;
    if (list) {
      this.#writeLocal();
      this.#store(list, { keepalive });
    }
    return this.#saving;
  }

  /** The server's lists, newer than any change made here, or undefined; and this browser's copy. */
  async #fetch() {
    let fetched;
    let changes;
    do {
      changes = this.#changes;
      await this.flush();
      try {
        fetched = await fetchLists();
      } catch (error) {
        if (error instanceof ApiError && error.isSignedOut) throw error;
        fetched = undefined; // the copy of this browser, as long as there is no other
      }
    } while (changes !== this.#changes);
    return { fetched, local: this.#readLocal() };
  }

  #find(id) {
    return this.lists.find((list) => list.id === id);
  }

  #begin() {
    this.current = { id: null, name: FIRST_NAME, symbols: [] };
    this.lists.push(this.current);
    this.#onChange();
  }

  #store(list, { keepalive = false } = {}) {
    this.#saving = this.#saving.then(async () => {
      const { symbols, view } = list;
      try {
        if (list.id === null) list.id = await make(list, { keepalive });
        else await changeList(list.id, contentsOf(list), { keepalive });
      } catch (error) {
        if (!this.#failing) this.#onSaveFailed(error);
        this.#failing = true;
        return;
      }
      this.#failing = false;
      if (list.symbols === symbols && list.view === view) list.unsaved = false;
      this.#changed({ isShared: true });
    });
  }

  #changed({ isShared = false } = {}) {
    this.#writeLocal();
    this.#onChange();
    if (isShared) this.#otherTabs.postMessage("changed");
  }

  #readLocal() {
    try {
      const value = JSON.parse(localStorage.getItem(this.#storageKey));
      if (Array.isArray(value?.lists)) return value;
    } catch {
      // storage may be switched off
    }
    return { lists: [], current: null };
  }

  #writeLocal() {
    const value = { lists: this.lists, current: this.current?.id ?? null };
    try {
      localStorage.setItem(this.#storageKey, JSON.stringify(value));
    } catch {
      // storage may be full or switched off: the server's copy is the one that counts
    }
  }
}
