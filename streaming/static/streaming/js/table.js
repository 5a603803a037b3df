/**
 * Owns the table: which rows have a view, when each is written, and which one the keyboard is at.
 *
 * Ticks arrive far more often than an eye can follow, so nothing is written on arrival: the store
 * collects changed rows and one animation frame writes them together, a few times a second. Rows
 * outside the window follow a few per frame, but at once when their state changes; many new rows
 * are built over several frames. So no frame is long, however long the list.
 */

import { RowView } from "./row_view.js";

const FOUND_MS = 1500;
const BETWEEN_FRAMES_MS = 120;
const REST = 12; // times as long as writing took: a large window on a slow machine is written less often
const LONGEST_REST_MS = 400;
const BUILT_PER_FRAME = 40;
const UNSEEN_PER_FRAME = 4;
const NEAR_THE_WINDOW = "100px 0px"; // so that a row that is scrolled to says the newest already

export class Table {
  #body;
  #template;
  #store;
  #dirty;
  #order;
  #now;
  #ladder;
  #observer;
  #lastFrame = -Infinity;
  #rest = BETWEEN_FRAMES_MS; // until the next frame
  #views = new Map();
  #unbuilt = [];
  #flashing = new Set();
  #isScheduled = false;
  #isOutOfOrder = false; // until `arrange` has come about
  #current = null; // the view that Tab reaches

  /**
   * `rows()` are the rows of the store to show, in their order, `now()` is the server's time; `ladder`
   * shows the order book of the open row; `onRemove(key)` is asked for by a row's button.
   */
  constructor({ body, template, store, rows, now, ladder, onRemove }) {
    this.#body = body;
    this.#template = template;
    this.#store = store;
    this.#dirty = store.follow();
    this.#order = rows;
    this.#now = now;
    this.#ladder = ladder;
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), {
      rootMargin: NEAR_THE_WINDOW,
    });
    body.addEventListener("click", ({ target }) => {
      const view = this.#viewAt(target);
      if (!view || this.#ladder.element.contains(target)) return;
      if (target.closest("[data-field=remove]")) onRemove(view.row.key);
      else if (String(getSelection()) === "") this.toggle(view.row.key);
    });
    body.addEventListener("focusin", ({ target }) => this.#reach(this.#viewAt(target)));
  }

  /** Ask for a frame; any number of calls before it cost one frame. */
  schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const wait = this.#unbuilt.length
      ? 0
      : this.#lastFrame + this.#rest - performance.now();
    // Each animation frame that is asked for costs a whole turn of layout and drawing, also when
    // nothing is written in it: the wait is a timer's.
    if (wait > 0) setTimeout(() => this.#ask(), wait);
    else this.#ask();
  }

  #ask() {
    requestAnimationFrame((time) => this.#frame(time));
  }

  /** Show the store's rows from scratch, in its order. */
  showAll() {
    this.close();
    this.#observer.disconnect();
    this.#body.replaceChildren();
    this.#views.clear();
    this.#flashing.clear();
    this.#current = null;
    this.#unbuilt = this.#order();
    this.schedule();
  }

  /** Bring the rows that are shown into their order, when all of them are built. */
  arrange() {
    this.#isOutOfOrder = true;
    this.schedule();
  }

  /** Show a row that was added, behind the others until `arrange`. */
  add(row) {
    this.#unbuilt.push(row);
    this.schedule();
  }

  /** Write every age, and the open order book. Runs once a second. */
  second() {
    const now = this.#now();
    for (const view of this.#views.values()) view.renderAge(now);
    this.#ladder.second(now);
  }

  /** Bring a row into view and show for a moment which one it is. */
  reveal(key) {
    const view = this.#views.get(key);
    if (!view) return;
    view.element.scrollIntoView({ block: "nearest" });
    view.element.dataset.found = "";
    setTimeout(() => delete view.element.dataset.found, FOUND_MS);
  }

  remove(key) {
    this.#unbuilt = this.#unbuilt.filter((row) => row.key !== key);
    const view = this.#views.get(key);
    if (!view) return;
    if (this.#ladder.key === key) this.close();
    const neighbour = this.#neighbour(view, 1) ?? this.#neighbour(view, -1);
    const focused = document.activeElement?.dataset.field;
    const hadFocus = view.element.contains(document.activeElement);
    this.#flashing.delete(view);
    this.#views.delete(key);
    this.#observer.unobserve(view.element);
    view.element.remove();
    if (this.#current === view) this.#reach(neighbour);
    if (hadFocus) neighbour?.nodes[focused].focus();
  }

  /** Open the order book of a row below it, or close it. */
  toggle(key) {
    const view = this.#views.get(key);
    const isOpen = this.#ladder.key === key;
    this.close();
    if (isOpen || !view) return;
    view.open = true;
    this.#reach(view);
    this.#ladder.show(view.row, this.#now());
    view.element.after(this.#ladder.element);
    this.#ladder.element.scrollIntoView({ block: "nearest" });
  }

  /** Close the open order book; false when there is none. */
  close() {
    const view = this.#views.get(this.#ladder.key);
    this.#ladder.hide();
    if (!view) return false;
    view.open = false;
    return true;
  }

  /** The key of the row that holds the focus, or null. */
  get focusedKey() {
    return this.#viewAt(document.activeElement)?.row.key ?? null;
  }

  /** Move the focus by `steps` rows, to the first or to the last with an infinite number. */
  step(steps) {
    const rows = this.#order();
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.key === this.focusedKey);
    const from = at < 0 ? (steps > 0 ? -1 : rows.length) : at;
    const to = Math.min(rows.length - 1, Math.max(0, from + steps));
    this.#focus(this.#views.get(rows[to].key));
  }

  /** Follow the store, in which the row has moved. */
  moved(key) {
    const view = this.#views.get(key);
    const keys = this.#store.rows().map((row) => row.key);
    const next = this.#views.get(keys[keys.indexOf(key) + 1]);
    this.close();
    this.#body.insertBefore(view.element, next?.element ?? null);
    this.#focus(view);
  }

  #frame(time) {
    this.#isScheduled = false;
    this.#lastFrame = time;
    const began = performance.now();
    for (const row of this.#unbuilt.splice(0, BUILT_PER_FRAME)) this.#build(row);
    this.#write(this.#now());
    for (const view of this.#flashing) {
      if (!view.settle(time)) this.#flashing.delete(view);
    }
    if (this.#isOutOfOrder && !this.#unbuilt.length) this.#arrange();
    const took = performance.now() - began;
    this.#rest = Math.min(LONGEST_REST_MS, Math.max(BETWEEN_FRAMES_MS, took * REST));
    if (this.#flashing.size || this.#unbuilt.length) this.schedule();
  }

  #arrange() {
    this.#isOutOfOrder = false;
    const focused = this.#body.contains(document.activeElement) ? document.activeElement : null;
    let next = this.#body.firstElementChild;
    for (const { key } of this.#order()) {
      const element = this.#views.get(key)?.element;
      if (!element) continue;
      if (next === this.#ladder.element) next = next.nextElementSibling;
      if (element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(element, next);
    }
    const open = this.#views.get(this.#ladder.key);
    if (open) open.element.after(this.#ladder.element);
    if (focused !== document.activeElement) focused?.focus({ preventScroll: true });
  }

  #write(now) {
    let unseen = UNSEEN_PER_FRAME;
    for (const row of this.#dirty) {
      const view = this.#views.get(row.key);
      if (!view) {
        this.#dirty.delete(row); // not of this table, or its turn to be built has not come
        continue;
      }
      if (!view.isUrgent && --unseen < 0) continue;
      this.#store.read(row);
      this.#dirty.delete(row);
      view.render(now);
      if (view.isFlashing) this.#flashing.add(view);
      if (row.key === this.#ladder.key) this.#ladder.render(now);
    }
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const view = this.#views.get(target.dataset.key);
      if (view) view.isVisible = isIntersecting;
    }
    this.schedule();
  }

  #build(row) {
    this.#store.read(row);
    const view = new RowView(this.#template, row);
    this.#views.set(row.key, view);
    view.render(this.#now());
    this.#body.append(view.element);
    this.#observer.observe(view.element);
    if (!this.#current) this.#reach(view);
  }

  #viewAt(node) {
    const element = node?.closest?.("tr[data-key]");
    return element?.parentElement === this.#body ? this.#views.get(element.dataset.key) : undefined;
  }

  #neighbour(view, steps) {
    const elements = [...this.#body.querySelectorAll("[data-key]")];
    const beside = elements[elements.indexOf(view.element) + steps];
    return this.#views.get(beside?.dataset.key);
  }

  #reach(view) {
    if (!view || view === this.#current) return;
    if (this.#current) this.#current.reachable = false;
    view.reachable = true;
    this.#current = view;
  }

  #focus(view) {
    view?.nodes.symbol.focus({ preventScroll: true });
    view?.element.scrollIntoView({ block: "nearest" });
  }
}
