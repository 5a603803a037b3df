/**
 * Owns what every SVG of the history does by itself: it is drawn again when its width changes, and the
 * pointer or the arrow keys choose among the things that it shows in the order of time.
 */

const SVG = "http://www.w3.org/2000/svg";
const PAGE = 12; // things that a page key passes

export const svgElement = (tag) => document.createElementNS(SVG, tag);

export class Picture {
  #svg;
  #margin;
  #draw;
  #find;
  #tell;
  #span = null; // what is shown: `{from, to, count}`, times in epoch ms
  #chosen = -1;

  /** Pixels, as it was drawn last. */
  width = 0;

  /**
   * `svg` has `margin.left` and `margin.right` beside its times. `draw()` fills it; `find(at)` returns
   * the index of the thing at a moment, or -1; `tell(index)` is told what is chosen, -1 for nothing.
   */
  constructor({ svg, margin, draw, find, tell }) {
    this.#svg = svg;
    this.#margin = margin;
    this.#draw = draw;
    this.#find = find;
    this.#tell = tell;
    svg.setAttribute("role", "img");
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("pointermove", (event) => this.#pointAt(event.offsetX));
    svg.addEventListener("pointerleave", () => this.#choose(-1));
    svg.addEventListener("keydown", (event) => this.#key(event));
    svg.addEventListener("blur", () => this.#choose(-1));
    new ResizeObserver(() => this.#redraw()).observe(svg);
  }

  /** Show `count` things from `from` to `to`, none of them chosen. */
  show({ from, to, count }) {
    this.#span = { from, to, count };
    this.#chosen = -1;
    this.width = 0;
    this.#redraw();
  }

  get left() {
    return this.#margin.left;
  }

  get right() {
    return this.width - this.#margin.right;
  }

  /** Where a moment stands, within the margins. */
  x(at) {
    const { from, to } = this.#span;
    return clamp(this.left + ((at - from) / (to - from)) * (this.right - this.left), this.left, this.right);
  }

  add(tag, attributes) {
    const node = svgElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
    this.#svg.append(node);
    return node;
  }

  #redraw() {
    const width = Math.round(this.#svg.getBoundingClientRect().width);
    if (!this.#span || !width || width === this.width) return;
    this.width = width;
    this.#svg.replaceChildren();
    this.#draw();
    this.#choose(this.#chosen);
  }

  #choose(index) {
    this.#chosen = index;
    if (this.width) this.#tell(index); // else nothing is drawn that could tell
  }

  #pointAt(offset) {
    if (!this.width) return;
    const { from, to } = this.#span;
    this.#choose(this.#find(from + ((offset - this.left) / (this.right - this.left)) * (to - from)));
  }

  #key(event) {
    const count = this.#span?.count ?? 0;
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -PAGE, PageDown: PAGE, Home: -count, End: count };
    if (!(event.key in moves) || !count) return;
    event.preventDefault();
    const begin = this.#chosen < 0 ? count : this.#chosen;
    this.#choose(clamp(begin + moves[event.key], 0, count - 1));
  }
}

function clamp(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
