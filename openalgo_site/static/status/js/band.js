/**
 * Owns the band of states over the charts: what the feed was, when, and why. The arrow keys read it.
 */

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 26;
const MARGIN = { left: 12, right: 12 };
const LEAST = 2; // pixels of an outage, however short

/** States whose prices could not be trusted, as the server counts them. */
export const OUTAGES = new Set(["stale", "login needed", "not served"]);

/** Where each state stands: `[x, width, index]`; outages last, so that no other covers them. Pure. */
export function bars(states, from, to, left, right) {
  const x = (at) => left + ((Math.min(Math.max(at, from), to) - from) / (to - from)) * (right - left);
  const found = states.map(([begin, end, state], index) => {
    const least = OUTAGES.has(state) ? LEAST : 0;
    const width = Math.max(x(end) - x(begin), least);
    return [Math.min(x(begin), right - width), width, index];
  });
  const isOutage = ([, , index]) => OUTAGES.has(states[index][2]);
  return [...found.filter((bar) => !isOutage(bar)), ...found.filter(isOutage)];
}

/** "45 s", "12 min", "3 h 5 min", "2 d 4 h". */
export function lasted(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
  if (hours < 24) return rest ? `${hours} h ${rest} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}

export class Band {
  #moments;
  #readout;
  #svg;
  #data = null;
  #selected = -1;
  #width = 0;

  constructor({ element, readout, moments }) {
    this.#moments = moments;
    this.#readout = readout;
    this.#svg = element;
    this.#svg.addEventListener("pointermove", (event) => this.#pointAt(event.offsetX));
    this.#svg.addEventListener("pointerleave", () => this.#select(-1));
    this.#svg.addEventListener("keydown", (event) => this.#key(event));
    this.#svg.addEventListener("blur", () => this.#select(-1));
    new ResizeObserver(() => this.#draw()).observe(this.#svg);
  }

  /** Show `states` (`[from, to, state, reason]`) from `from` to `to`; `minutes` of outage or null. */
  show(data) {
    this.#data = data;
    this.#selected = -1;
    this.#width = 0;
    this.#draw();
  }

  #draw() {
    const width = Math.round(this.#svg.getBoundingClientRect().width);
    if (!this.#data || !width || width === this.#width) return;
    this.#width = width;
    const { states, from, to } = this.#data;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#svg.setAttribute("aria-label", `Feed: ${this.#rest()} Arrow keys read the states.`);
    this.#svg.replaceChildren();
    this.#bar(MARGIN.left, width - MARGIN.left - MARGIN.right, "unknown");
    for (const [x, w, index] of bars(states, from, to, MARGIN.left, width - MARGIN.right)) {
      this.#bar(x, w, states[index][2]);
    }
    this.#select(this.#selected);
  }

  #bar(x, width, state) {
    const node = document.createElementNS(SVG, "rect");
    const isOutage = OUTAGES.has(state);
    // Told apart without colour, too: outages are as high as the band, all else is not.
    const [y, height] = isOutage ? [1, HEIGHT - 2] : [8, HEIGHT - 16];
    for (const [name, value] of Object.entries({ x: x.toFixed(1), y, width: width.toFixed(1), height })) {
      node.setAttribute(name, String(value));
    }
    node.dataset.state = state;
    this.#svg.append(node);
  }

  #pointAt(offset) {
    if (!this.#data) return;
    const { states, from, to } = this.#data;
    const share = (offset - MARGIN.left) / (this.#width - MARGIN.left - MARGIN.right);
    const at = from + share * (to - from);
    const near = ((to - from) / this.#width) * LEAST;
    const isThere = (reach) => ([begin, end]) => begin - reach <= at && at < end + reach;
    const short = states.findIndex((each) => OUTAGES.has(each[2]) && isThere(near)(each));
    this.#select(short < 0 ? states.findIndex(isThere(0)) : short);
  }

  #key(event) {
    const count = this.#data?.states.length ?? 0;
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -count, End: count };
    if (!(event.key in moves) || !count) return;
    event.preventDefault();
    const begin = this.#selected < 0 ? count : this.#selected;
    this.#select(Math.min(count - 1, Math.max(0, begin + moves[event.key])));
  }

  #select(index) {
    this.#selected = index;
    if (!this.#data) return;
    const state = this.#data.states[index];
    this.#readout.textContent = state ? this.#told(state) : this.#rest();
  }

  #told([begin, end, word, reason]) {
    const why = reason ? `: ${reason}` : "";
    const now = this.#data.to;
    return `${word} for ${lasted(end - begin)}, ${this.#moments.short(begin, now)} to ${this.#moments.short(end, now)}${why}`;
  }

  #rest() {
    const { states, minutes } = this.#data;
    if (minutes === null || !states.length) return "Nothing is known of this range.";
    const times = states.filter(([, , state]) => OUTAGES.has(state)).length;
    if (!times) return "No outage in this range.";
    return `${lasted(minutes * 60_000)} of outage in this range, ${times === 1 ? "once" : `${times} times`}.`;
  }
}
