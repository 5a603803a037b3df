/**
 * Owns how points in time read, in the zone where the server's days begin.
 */

import { DASH, zoneName } from "../../streaming/js/format.js";

const options = { hourCycle: "h23" };

export class Moments {
  #clock;
  #date;
  #day;
  #full;
  #timeZone;

  constructor(timeZone) {
    this.#timeZone = timeZone;
    const make = (wanted) => new Intl.DateTimeFormat("en-GB", { ...options, timeZone, ...wanted });
    this.#clock = make({ hour: "2-digit", minute: "2-digit" });
    this.#date = make({ day: "numeric", month: "short" });
    this.#day = make({ year: "numeric", month: "2-digit", day: "2-digit" });
    this.#full = make({ dateStyle: "medium", timeStyle: "medium" });
  }

  /** "14:05 IST" within today, "3 Nov 14:05 IST" within this year, "3 Nov 2025 14:05 IST" before. */
  short(at, now) {
    return Number.isFinite(at) ? `${this.bare(at, now)} ${this.zone(at)}` : DASH;
  }

  /** The same within what names the zone: the marks of an axis, a column with it in its heading. */
  bare(at, now) {
    if (!Number.isFinite(at)) return DASH;
    const [day, today] = [this.#day.format(at), this.#day.format(now)];
    const clock = this.#clock.format(at);
    if (day === today) return clock;
    const year = day.slice(-4) === today.slice(-4) ? "" : ` ${day.slice(-4)}`;
    return `${this.#date.format(at)}${year} ${clock}`;
  }

  clock(at) {
    return this.#clock.format(at);
  }

  date(at) {
    return this.#date.format(at);
  }

  /** How the zone is called then. */
  zone(at) {
    return zoneName(at, this.#timeZone);
  }

  /** With date, seconds and zone, for what is pointed at. */
  full(at) {
    return Number.isFinite(at) ? `${this.#full.format(at)} ${this.zone(at)}` : "";
  }
}
