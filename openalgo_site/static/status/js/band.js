/**
 * Owns the band of states over the charts: what the feed was, when, and why. The arrow keys read it.
 */

import { Picture } from "./picture.js";

const HEIGHT = 26;
const MARGIN = { left: 12, right: 12 };
const LEAST = 2; // pixels of an outage, however short

/** States whose prices could not be trusted, as the server counts them. */
export const OUTAGES = new Set(["stale", "login needed", "no worker", "closed"]);

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
  #picture;
  #data = null;

  constructor({ element, readout, moments }) {
    this.#moments = moments;
    this.#readout = readout;
    this.#svg = element;
    this.#picture = new Picture({
      svg: element,
      margin: MARGIN,
      draw: () => this.#draw(),
      find: (at) => this.#find(at),
      tell: (index) => this.#tell(index),
    });
  }

  /** Show `states` (`[from, to, state, reason]`) from `from` to `to`; `minutes` of outage or null. */
  show(data) {
    this.#data = data;
    this.#picture.show({ ...data, count: data.states.length });
  }

  #draw() {
    const { states, from, to } = this.#data;
    const { left, right, width } = this.#picture;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#svg.setAttribute("aria-label", `Feed: ${this.#rest()} Arrow keys read the states.`);
    this.#bar(left, right - left, "unknown");
    for (const [x, w, index] of bars(states, from, to, left, right)) this.#bar(x, w, states[index][2]);
  }

  #bar(x, width, state) {
    // Told apart without colour, too: outages are as high as the band, all else is not.
    const [y, height] = OUTAGES.has(state) ? [1, HEIGHT - 2] : [8, HEIGHT - 16];
    this.#picture.add("rect", { x: x.toFixed(1), y, width: width.toFixed(1), height, "data-state": state });
  }

  #find(at) {
    const { states, from, to } = this.#data;
    const near = ((to - from) / this.#picture.width) * LEAST;
    const isThere = (reach) => ([begin, end]) => begin - reach <= at && at < end + reach;
    const short = states.findIndex((each) => OUTAGES.has(each[2]) && isThere(near)(each));
    return short < 0 ? states.findIndex(isThere(0)) : short;
  }

  #tell(index) {
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
