/**
 * Owns the figures of the console: how much arrives each second, and how old ticks are on arrival.
 * Pure: the caller passes the time, in milliseconds.
 */

const WINDOW_MS = 5000;
const MAX_AGES = 2000;
// Of stamps with milliseconds one in a thousand is a whole second by chance; the server judges alike.
const COARSE_SHARE = 0.1;

export class Meter {
  #seconds = []; // [second, frames, ticks, bytes]
  #ages = []; // [milliseconds, whether the stamp was a whole second]

  /** Count one frame of `size` characters with `ticks` in it. */
  frame(now, size, ticks) {
    const second = Math.floor(now / 1000);
    let last = this.#seconds.at(-1);
    if (last?.[0] !== second) {
      last = [second, 0, 0, 0];
      this.#seconds.push(last);
      while (this.#seconds[0][0] < second - WINDOW_MS / 1000) this.#seconds.shift();
    }
    last[1] += 1;
    last[2] += ticks;
    last[3] += size;
  }

  /** Keep how old a tick that the exchange stamped at `stamp` was on arrival, in milliseconds. */
  age(milliseconds, stamp) {
    this.#ages.push([milliseconds, stamp % 1000 === 0]);
    if (this.#ages.length > MAX_AGES) this.#ages.splice(0, MAX_AGES / 2);
  }

  /** Whether many of the stamps were whole seconds: ages are then up to a second too high. */
  get isCoarse() {
    const whole = this.#ages.filter(([, isWhole]) => isWhole).length;
    return whole > this.#ages.length * COARSE_SHARE;
  }

  /** Frames, ticks and characters per second over the last whole seconds. */
  rates(now) {
    const current = Math.floor(now / 1000);
    const whole = this.#seconds.filter(
      ([second]) => second < current && second >= current - WINDOW_MS / 1000,
    );
    const sum = (column) => whole.reduce((total, each) => total + each[column], 0);
    const seconds = WINDOW_MS / 1000;
    return { frames: sum(1) / seconds, ticks: sum(2) / seconds, bytes: sum(3) / seconds };
  }

  /** The age below which `share` (0 to 1) of the latest ticks were; NaN without any. */
  ageBelow(share) {
    const sorted = this.#ages.map(([milliseconds]) => milliseconds).sort((a, b) => a - b);
    return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] : NaN;
  }

  clear() {
    this.#seconds = [];
    this.#ages = [];
  }
}
