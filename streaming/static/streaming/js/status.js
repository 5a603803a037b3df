/**
 * Owns the words about the connection: the pill in the header line, the banner when something is
 * wrong, the title of the page, ticks per second and the round trip.
 */

import { Phase } from "./connection.js";
import { quantity } from "./format.js";
import { siteClock } from "./zone.js";

const REFUSALS = {
  1009: "a request was too big",
  4400: "a request was not understood",
  4403: "this page or this user may not connect",
  4413: "too many subscriptions",
};
const SMOOTHING = 0.4;
// Where the state's word alone would not say of what it is.
const PILLS = { stale: "Feed stale", closed: "Feed closed", "login needed": "Broker login needed" };

export class StatusLine {
  #nodes;
  #connection;
  #feed;
  #onRetry;
  #lostAt = 0;
  #rate = NaN;
  #countedTicks = 0;
  #bannerText = "";
  #title = document.title; // of the page when all is well

  /** `nodes`: pill, pillText, rate, roundTrip, banner, bannerText, countdown, retry, login. */
  constructor({ nodes, connection, feed, onRetry }) {
    this.#nodes = nodes;
    this.#connection = connection;
    this.#feed = feed;
    this.#onRetry = onRetry;
    nodes.retry.addEventListener("click", () => this.#onRetry());
  }

  /** The phase or the feed changed. */
  update() {
    const { phase, everOpened } = this.#connection;
    if (phase === Phase.OPEN) this.#lostAt = 0;
    else if (everOpened && !this.#lostAt) this.#lostAt = Date.now();
    const [state, label] = this.#pill(phase);
    this.#nodes.pill.dataset.state = state;
    setText(this.#nodes.pillText, label);
    // A tab in the background says so, too. Connecting for the first time is no trouble.
    const isWell = state === "good" || (state === "busy" && !this.#lostAt);
    document.title = isWell ? this.#title : `${label} \u00b7 ${this.#title}`;
    this.#banner(phase);
    this.#countdown();
  }

  /** Once a second: the rate since the last call, the round trip, the countdown. */
  second(ticks) {
    const delta = ticks - this.#countedTicks;
    this.#countedTicks = ticks;
    const isOpen = this.#connection.phase === Phase.OPEN;
    this.#rate = Number.isNaN(this.#rate) ? delta : this.#rate + SMOOTHING * (delta - this.#rate);
    if (!isOpen || (delta === 0 && this.#rate < 0.5)) this.#rate = 0;
    setText(this.#nodes.rate, `${quantity(Math.round(this.#rate))} ticks/s`);
    const trip = this.#connection.roundTripMs;
    setText(
      this.#nodes.roundTrip,
      isOpen && Number.isFinite(trip) ? `${Math.round(trip)} ms round trip` : "",
    );
    this.#countdown();
  }

  #pill(phase) {
    if (phase === Phase.CONNECTING) return ["busy", this.#lostAt ? "Reconnecting" : "Connecting"];
    if (phase === Phase.SILENT) return ["bad", "No answer"];
    if (phase === Phase.WAITING) return ["bad", "Disconnected"];
    if (phase === Phase.SIGNED_OUT) return ["bad", "Signed out"];
    if (phase === Phase.REFUSED) return ["bad", "Refused"];
    const trouble = this.#feed.headline;
    if (!trouble) return ["good", "Connected"];
    return [trouble.tone, PILLS[trouble.status] ?? trouble.status.charAt(0).toUpperCase() + trouble.status.slice(1)];
  }

  #banner(phase) {
    const [text, kind] = this.#bannerFor(phase);
    const { banner, bannerText, retry, login } = this.#nodes;
    if (text !== this.#bannerText) {
      this.#bannerText = text;
      bannerText.textContent = text;
      banner.hidden = !text;
    }
    if (banner.dataset.kind !== kind) banner.dataset.kind = kind;
    retry.hidden = phase !== Phase.WAITING && phase !== Phase.REFUSED;
    login.hidden = phase !== Phase.SIGNED_OUT;
  }

  #bannerFor(phase) {
    const old = this.#lostAt ? ` Prices below are from before ${siteClock(this.#lostAt)}.` : "";
    if (phase === Phase.SIGNED_OUT) return [`You are signed out.${old}`, "bad"];
    if (phase === Phase.REFUSED) {
      const code = this.#connection.closeCode;
      const why = REFUSALS[code] ?? "it gave no reason";
      return [`The server ended the connection (code ${code}): ${why}.${old}`, "bad"];
    }
    if (phase === Phase.OPEN) {
      const trouble = this.#feed.headline;
      if (!trouble) return ["", ""];
      const since = trouble.since ? ` Since ${siteClock(trouble.since)}.` : "";
      return [trouble.text + since, trouble.tone === "bad" ? "bad" : "warn"];
    }
    if (phase === Phase.SILENT) {
      const why = navigator.onLine ? "" : " The browser takes this machine for offline.";
      return [`The server does not answer.${why}${old}`, "bad"];
    }
    if (this.#lostAt) return [`The connection to the server is lost.${old}`, "bad"];
    if (phase === Phase.WAITING) return ["The server cannot be reached yet.", "bad"];
    return ["", ""];
  }

  #countdown() {
    const { phase, retryAt } = this.#connection;
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    const text = phase === Phase.WAITING ? `Connecting again in ${seconds} s.` : "";
    setText(this.#nodes.countdown, phase === Phase.CONNECTING && this.#lostAt ? "Connecting\u2026" : text);
  }
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
