/**
 * Owns the dragging of rows by their grip, with mouse, pen or finger: the row follows the pointer
 * among the others, and `onDrop` hears where it was let go. Escape, or a gesture that the browser
 * takes away, puts it back.
 */

const EDGE_PX = 60; // near the window's edges it scrolls
const SCROLL_PX = 12; // each frame

export class RowDrag {
  #body;
  #onLift;
  #onDrop;
  #row = null; // the element that is dragged
  #next = null; // what it stood before
  #y = 0;

  /** `onLift()`: may refuse with false; `onDrop(key, nextKey)`: null behind the last row. */
  constructor({ body, onLift, onDrop }) {
    this.#body = body;
    this.#onLift = onLift;
    this.#onDrop = onDrop;
    body.addEventListener("pointerdown", (event) => this.#lift(event));
    body.addEventListener("pointermove", (event) => this.#move(event));
    body.addEventListener("pointerup", () => this.#drop());
    body.addEventListener("pointercancel", () => this.#putBack());
    body.addEventListener("lostpointercapture", () => this.#putBack());
    document.addEventListener("keydown", ({ key }) => key === "Escape" && this.#putBack());
    // A click on the grip opens no order book.
    body.addEventListener("click", (event) => event.target.closest(".grip") && event.stopPropagation(), true);
  }

  get isDragging() {
    return this.#row !== null;
  }

  #lift(event) {
    const grip = event.target.closest(".grip");
    if (!grip || this.#row || event.button !== 0 || !event.isPrimary || this.#onLift() === false) return;
    event.preventDefault(); // no text is selected meanwhile
    this.#row = grip.closest("tr");
    this.#next = this.#row.nextElementSibling;
    this.#row.dataset.dragged = "";
    this.#body.setPointerCapture(event.pointerId); // the row itself is moved about, which would end it
    this.#y = event.clientY;
    this.#scroll();
  }

  #move({ clientX, clientY }) {
    if (!this.#row) return;
    if (!this.#row.isConnected) return this.#end(); // the list was filled anew
    this.#y = clientY;
    const over = document.elementFromPoint(clientX, clientY)?.closest("tr[data-key]");
    if (!over || over === this.#row || over.parentElement !== this.#body) return;
    const { top, height } = over.getBoundingClientRect();
    const next = clientY < top + height / 2 ? over : over.nextElementSibling;
    if (next !== this.#row && next !== this.#row.nextElementSibling) this.#body.insertBefore(this.#row, next);
  }

  #drop() {
    const row = this.#row;
    if (!row) return;
    if (!row.isConnected) return this.#end();
    const isMoved = row.nextElementSibling !== this.#next;
    this.#end();
    if (isMoved) this.#onDrop(row.dataset.key, row.nextElementSibling?.dataset.key ?? null);
  }

  #putBack() {
    if (!this.#row) return;
    const isThere = this.#row.isConnected && (!this.#next || this.#next.parentElement === this.#body);
    if (isThere) this.#body.insertBefore(this.#row, this.#next);
    this.#end();
  }

  #end() {
    delete this.#row.dataset.dragged;
    this.#row = null;
  }

  #scroll() {
    if (!this.#row) return;
    if (this.#y < EDGE_PX) scrollBy(0, -SCROLL_PX);
    else if (this.#y > innerHeight - EDGE_PX) scrollBy(0, SCROLL_PX);
    requestAnimationFrame(() => this.#scroll());
  }
}
