/**
 * Owns in which zone the site's own times are told: that of the server (TIME_ZONE), by the page.
 */

import { clock } from "./format.js";

export const siteZone = document.body.dataset.timeZone;

/** A moment of ours (since when, from when on), with its zone and, of another day, its date. */
export function siteClock(milliseconds, now = Date.now()) {
  return clock(milliseconds, siteZone, { now });
}

/** For a column whose heading names the zone. */
export function bareSiteClock(milliseconds) {
  return clock(milliseconds, siteZone, { isBare: true, withMilliseconds: true });
}
