/**
 * Owns finding instruments by typing: the combobox, its list, and the requests behind it.
 * Follows the ARIA pattern "editable combobox with list autocomplete".
 */

import { searchInstruments } from "./api.js";
import { isList } from "./names.js";
import { keyOf } from "./store.js";

const DEBOUNCE_MS = 150;
const LIMIT = 12;
const EXACT = /^\s*([A-Za-z][A-Za-z_]{1,15}):\s*(\S.*?)\s*$/;

/** Read "NSE:INFY" as an exact name; null for anything else. */
export function parseExact(text) {
  const found = EXACT.exec(text);
  return found ? { exchange: found[1].toUpperCase(), symbol: found[2].toUpperCase() } : null;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const STRIKE = new Intl.NumberFormat("en-IN", { maximumFractionDigits: 4 });

/** Expiry, strike and kind of a future or an option, for people: "24 Nov 2026 24,100 CE"; pure. */
export function termsOf({ expiry, strike, instrument_type: kind }) {
  const day = /^(\d{4})-(\d{2})-(\d{2})$/.exec(expiry ?? "");
  if (!day) return "";
  const date = `${Number(day[3])} ${MONTHS[day[2] - 1]} ${day[1]}`;
  return [date, Number.isFinite(strike) ? STRIKE.format(strike) : "", kind].filter(Boolean).join(" ");
}

export class Search {
  #input;
  #list;
  #hint;
  #isListed;
  #onChoose;
  #onList;
  #onError;
  #options = [];
  #active = -1;
  #timer = 0;
  #request = null;
  #answeredText = "";
  #wantsEnter = false;

  /** `onList(text)` hears a whole list of names, where a page takes one; else it is searched for. */
  constructor({ input, list, hint, isListed, onChoose, onList = null, onError }) {
    this.#input = input;
    this.#list = list;
    this.#hint = hint;
    this.#isListed = isListed;
    this.#onChoose = onChoose;
    this.#onList = onList;
    this.#onError = onError;
    input.addEventListener("input", () => this.#typed());
    input.addEventListener("paste", (event) => {
      // The field holds one line of bounded length; a list is longer than that.
      if (this.#takeList(event.clipboardData?.getData("text") ?? "")) event.preventDefault();
    });
    input.addEventListener("focus", () => this.#entered());
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.#left());
    // The list must not take the focus away from the input before the click is handled.
    list.addEventListener("mousedown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.#choose(Number(option.dataset.index));
    });
  }

  /** Forget the answer, as its order has changed: the next look asks again. */
  forget() {
    this.#answeredText = "";
    if (document.activeElement === this.#input) this.#typed();
    else this.#show([], "");
  }

  focus() {
    this.#input.focus();
    this.#input.select();
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#request?.abort();
    this.#wantsEnter = false;
    const text = this.#input.value.trim();
    if (!text) {
      this.#answeredText = "";
      this.#show([], "");
      return;
    }
    this.#timer = setTimeout(() => this.#ask(text), DEBOUNCE_MS);
  }

  async #ask(text) {
    clearTimeout(this.#timer);
    const exact = parseExact(text);
    const abort = new AbortController();
    this.#request = abort;
    try {
      const found = await searchInstruments({
        q: exact ? exact.symbol : text,
        exchange: exact ? exact.exchange : "",
        limit: LIMIT,
        signal: abort.signal,
      });
      const elsewhere = exact ? await this.#elsewhere(exact, found, abort.signal) : [];
      if (abort.signal.aborted) return;
      this.#answer(text, exact, { ...found, results: [...found.results, ...elsewhere] });
    } catch (error) {
      if (abort.signal.aborted) return;
      this.#show([], "Search is not available at the moment.");
      this.#onError(error);
    }
  }

  /** The same name at other exchanges, where the one that was typed has none: NIFTY is an index. */
  async #elsewhere(exact, { results, reason }, signal) {
    if (reason || results.some(({ symbol }) => symbol === exact.symbol)) return [];
    const all = await searchInstruments({ q: exact.symbol, limit: LIMIT, signal });
    return all.results.filter(({ symbol }) => symbol === exact.symbol);
  }

  #answer(text, exact, { results, reason }) {
    const options = [...results];
    const isKnown = (item) => item.exchange === exact.exchange && item.symbol === exact.symbol;
    if (exact && !reason && !options.some(isKnown)) options.push({ ...exact, isGuess: true });
    this.#answeredText = text;
    const nothing = `Nothing found for \u201c${text}\u201d. An exact name reads NSE:INFY.`;
    this.#show(options, reason || (options.length ? "" : nothing));
    if (this.#wantsEnter) {
      this.#wantsEnter = false;
      this.#choose(this.#active);
    }
  }

  #show(options, hint) {
    this.#options = options;
    this.#active = options.length ? 0 : -1;
    this.#list.replaceChildren(...options.map((item, index) => this.#optionFor(item, index)));
    this.#hint.textContent =
      hint || (options.length ? `${options.length} found, arrow keys to choose` : "");
    this.#hint.classList.toggle("visually-hidden", !hint);
    if (options.length) this.#open();
    else this.#close();
  }

  #optionFor(item, index) {
    const option = document.createElement("li");
    option.id = `found-${index}`;
    option.dataset.index = String(index);
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    const isListed = this.#isListed(keyOf(item.exchange, item.symbol));
    const parts = [
      ["found-symbol", item.symbol],
      ["found-exchange", item.exchange],
      ["found-name", item.isGuess ? "ask for exactly this name" : (termsOf(item) || item.name) ?? ""],
    ];
    if (isListed) parts.push(["found-note", "in your list"]);
    for (const [className, text] of parts) {
      const part = document.createElement("span");
      part.className = className;
      part.textContent = text;
      option.append(part, " ");
    }
    return option;
  }

  #key(event) {
    if (event.isComposing) return;
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves && this.#options.length) {
      event.preventDefault();
      if (this.#list.hidden) this.#open();
      else this.#activate((this.#active + moves[event.key] + this.#options.length) % this.#options.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#enter();
    } else if (event.key === "Escape") {
      event.preventDefault(); // a search field would clear its text at once
      if (this.#list.hidden && !this.#input.value) this.#input.blur(); // to the page's keys
      else if (this.#list.hidden) this.#clear();
      else this.#close();
    }
  }

  #enter() {
    const text = this.#input.value.trim();
    if (!text || this.#takeList(text)) return;
    if (this.#answeredText === text) {
      this.#choose(this.#active);
    } else {
      this.#wantsEnter = true; // faster than the answer: choose the best one when it is there
      if (!this.#request || this.#request.signal.aborted) this.#ask(text);
    }
  }

  /** Whether `text` was a list of names, and has been handed on. */
  #takeList(text) {
    if (!this.#onList || !isList(text)) return false;
    this.#clear();
    this.#onList(text);
    return true;
  }

  #choose(index) {
    const item = this.#options[index];
    if (!item) return;
    this.#clear();
    this.#onChoose(item);
  }

  #clear() {
    this.#input.value = "";
    this.#typed();
  }

  #entered() {
    if (this.#options.length) this.#open();
    else if (this.#input.value.trim() && !this.#answeredText) this.#typed();
  }

  #left() {
    this.#close();
    this.#hint.classList.add("visually-hidden");
  }

  #open() {
    this.#list.hidden = false;
    this.#input.setAttribute("aria-expanded", "true");
    this.#activate(this.#active);
  }

  #close() {
    this.#list.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#input.removeAttribute("aria-activedescendant");
  }

  #activate(index) {
    this.#list.children[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = index;
    const option = this.#list.children[index];
    if (!option) return;
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    this.#input.setAttribute("aria-activedescendant", option.id);
  }
}
