/**
 * Owns the frames of the console: keeps the latest, shows those that are asked for, newest first.
 * Bounded by number and by characters: the oldest are dropped, and the note says how many.
 */

import { quantity, zoneName } from "./format.js";
import { bareSiteClock, siteZone } from "./zone.js";

const MAX_FRAMES = 400;
const MAX_CHARACTERS = 4_000_000;
const SHOWN_CHARACTERS = 1500;
const BETWEEN_WRITES_MS = 150;

/** "ticks" for frames of prices, "sent" for our own, "other" for the rest; pure. */
export function kindOf(text, isSent) {
  if (isSent) return "sent";
  // The server writes the type first; looking there spares the parsing.
  return /^\s*\{\s*"type"\s*:\s*"(?:market_data|ticks)"/.test(text) ? "ticks" : "other";
}

/** Whether a frame is among those asked for: of the kind ("" any), with the text in any case; pure. */
export function matches(frame, kind, text) {
  if (kind === "other" ? frame.kind === "ticks" : kind && frame.kind !== kind) return false;
  return !text || frame.text.toLowerCase().includes(text);
}

export class FrameLog {
  #list;
  #note;
  #frames = [];
  #characters = 0;
  #dropped = 0;
  #missed = 0; // while paused
  #unwritten = [];
  #timer = 0;
  #kind = "";
  #text = "";
  isPaused = false;

  constructor({ list, note }) {
    this.#list = list;
    this.#note = note;
  }

  add(text, isSent) {
    if (this.isPaused) {
      this.#missed += 1;
      this.#later();
      return;
    }
    const frame = { text, kind: kindOf(text, isSent), at: new Date() };
    this.#frames.push(frame);
    this.#characters += text.length;
    while (this.#frames.length > MAX_FRAMES || this.#characters > MAX_CHARACTERS) {
      this.#characters -= this.#frames.shift().text.length;
      this.#dropped += 1;
    }
    this.#unwritten.push(frame);
    if (this.#unwritten.length > MAX_FRAMES) this.#unwritten.shift();
    this.#later();
  }

  /** Stop taking frames, or take them again; what comes in between is counted, not kept. */
  pause(isPaused) {
    this.isPaused = isPaused;
    if (isPaused) this.#missed = 0;
    this.#write(); // what has come so far is still shown; from here on nothing moves
  }

  /** Show frames of a kind and with a text in them. */
  filter({ kind, text }) {
    this.#kind = kind;
    this.#text = text.trim().toLowerCase();
    this.#unwritten = [...this.#frames];
    this.#list.replaceChildren();
    this.#write();
  }

  clear() {
    this.#frames = [];
    this.#characters = this.#dropped = this.#missed = 0;
    this.#unwritten = [];
    this.#list.replaceChildren();
    this.#write();
  }

  /** The frames that are shown, whole, oldest first, one a line. */
  get shownText() {
    return this.#shown(this.#frames)
      .map((frame) => frame.text)
      .join("\n");
  }

  #shown(frames) {
    return frames.filter((frame) => matches(frame, this.#kind, this.#text));
  }

  #later() {
    this.#timer ||= setTimeout(() => this.#write(), BETWEEN_WRITES_MS);
  }

  #write() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const fresh = this.#shown(this.#unwritten.splice(0)).reverse().map(elementOf);
    this.#list.prepend(...fresh);
    while (this.#list.childElementCount > MAX_FRAMES) this.#list.lastElementChild.remove();
    this.#say();
  }

  #say() {
    const parts = [
      `${quantity(this.#list.childElementCount)} of the latest ${quantity(this.#frames.length)} frames shown; times in ${zoneName(Date.now(), siteZone)}.`,
    ];
    if (this.#dropped) parts.push(`${quantity(this.#dropped)} older ones dropped.`);
    if (this.isPaused) parts.push(`Paused: ${quantity(this.#missed)} frames since then not kept.`);
    else if (this.#missed) parts.push(`${quantity(this.#missed)} frames during the pause not kept.`);
    this.#note.textContent = parts.join(" ");
  }
}

function elementOf({ text, kind, at }) {
  const line = document.createElement("li");
  line.dataset.way = kind === "sent" ? "sent" : "received";
  const time = bareSiteClock(at.getTime());
  line.append(
    part("at", time),
    part("way", kind === "sent" ? "\u2191 sent" : "\u2193 got"),
    part("bytes", `${quantity(text.length)} B`),
  );
  const body = part("body", text.slice(0, SHOWN_CHARACTERS));
  if (text.length > SHOWN_CHARACTERS) {
    body.append(part("more", ` \u2026 ${quantity(text.length - SHOWN_CHARACTERS)} more`));
  }
  line.append(body);
  return line;
}

function part(className, text) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}
