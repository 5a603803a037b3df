/**
 * Owns the socket to /ws/ticks/: when to connect again, liveness, and the clock of the server.
 *
 * The decisions (`afterClose`, `reconnectDelay`) are pure; `TickConnection` performs them. What the
 * messages mean is not known here: every parsed object goes to `onMessage`.
 */

import { Advice, LOOK_EVERY_MS, Link } from "./link.js";

export const Phase = Object.freeze({
  CONNECTING: "connecting",
  OPEN: "open",
  SILENT: "silent", // open as far as anybody knows, but nothing proves it: nothing is current
  WAITING: "waiting", // lost, will connect again at `retryAt`
  SIGNED_OUT: "signed-out", // needs a new login
  REFUSED: "refused", // the server asked not to come back by itself
});

/** The subprotocol in which ticks come in batches; the page understands plain frames as well. */
export const BATCHES = "tickpool.batch.v1";

const FINAL_CODES = new Set([1009, 4400, 4403, 4413]);
const CONNECT_TIMEOUT_MS = 15_000;
const HEALTHY_AFTER_MS = 10_000;
const MAX_FRAME_CHARS = 60_000; // the server closes 1009 above 64 KiB
const PONG = '"type":"pong"';
const TIMELY_MS = 2000; // an answer that took longer says nothing about the server's clock

const now = () => ({ steady: performance.now(), wall: Date.now() });

/** What to do after a close code: "retry", "sign-in" or "stop". */
export function afterClose(code) {
  if (code === 4401) return "sign-in";
  return FINAL_CODES.has(code) ? "stop" : "retry";
}

/** Full jitter: anywhere below base * 2^attempt, capped, and never at once. Milliseconds. */
export function reconnectDelay(attempt, random, { base = 1000, cap = 30_000, floor = 250 } = {}) {
  const ceiling = Math.min(cap, base * 2 ** Math.min(attempt, 20));
  return Math.max(floor, Math.round(random() * ceiling));
}

/** Seconds to wait as a 4429 close carries them in its reason ("retry_after=12"), in milliseconds. */
export function retryAfter(reason) {
  const found = /retry[_ -]?after\D*(\d+(?:\.\d+)?)/i.exec(reason || "");
  return found ? Math.min(300_000, Number(found[1]) * 1000) : 0;
}

export class TickConnection {
  #url;
  #random;
  #createSocket;
  #onMessage;
  #onPhase;
  #onFrame;
  #takesText;
  #wantsBatches;
  #socket = null;
  #attempt = 0;
  #hintMs = 0;
  #offers = true; // whether this attempt asks for batches
  #timer = 0;
  #link = null; // of the open socket: how far it is believed
  #lookTimer = 0;
  #pings = 0; // numbered over all sockets, so that no answer is taken for another one's
  #openedAt = 0;

  /**
   * `onMessage(message, size)` hears parsed frames of `size` characters, unless `takesText(text)`
   * has used one up unparsed and returned true. `onPhase(phase, before)`. `url()` is asked before
   * each connect, `wantsBatches()` too. `onFrame(text, isSent)` hears every frame as it is on the
   * wire, before anything is made of it. `random` and `createSocket` are injected so that the policy
   * can be driven without a network.
   */
  constructor({
    url,
    onMessage,
    onPhase,
    onFrame = () => {},
    takesText = () => false,
    wantsBatches = () => true,
    random = Math.random,
    createSocket = (address, protocols) => new WebSocket(address, protocols),
  }) {
    this.#url = url;
    this.#random = random;
    this.#createSocket = createSocket;
    this.#onMessage = onMessage;
    this.#onPhase = onPhase;
    this.#onFrame = onFrame;
    this.#takesText = takesText;
    this.#wantsBatches = wantsBatches;
    this.phase = Phase.CONNECTING;
    this.retryAt = 0;
    this.closeCode = 0;
    this.everOpened = false;
    this.roundTripMs = NaN;
    this.serverOffsetMs = 0;
  }

  /** Connect now, whatever was planned. */
  open() {
    this.#detach();
    this.#enter(Phase.CONNECTING);
    const socket = this.#createSocket(
      this.#url(),
      this.#offers && this.#wantsBatches() ? [BATCHES] : [],
    );
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#closed(1006, ""), CONNECT_TIMEOUT_MS);
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
  }

  /** Leave for good (the page goes away, or the session has ended). */
  close(phase = Phase.REFUSED) {
    this.#detach();
    this.#enter(phase);
  }

  /** Send one request; false when it could not go out (the caller replays it on the next open). */
  send(request) {
    if (!this.#hasOpened) return false;
    const text = JSON.stringify(request);
    if (text.length > MAX_FRAME_CHARS) throw new RangeError("request is larger than a frame may be");
    this.#socket.send(text);
    this.#onFrame(text, true);
    return true;
  }

  /** Heed from now on what the browser says of network and page; once for a connection. */
  heed(page = window) {
    page.addEventListener("offline", () => this.#hasOpened && this.#doubt());
    page.addEventListener("online", () => {
      if (this.#hasOpened) this.#ask();
      else if (this.phase === Phase.WAITING || this.phase === Phase.CONNECTING) this.open();
    });
    page.addEventListener("pageshow", ({ persisted }) => {
      if (persisted) this.open(); // restored from the back/forward cache: the socket is gone
    });
    // A hidden page's timers come late, a frozen one's not at all.
    page.document.addEventListener("visibilitychange", () => this.#seenAgain());
    page.document.addEventListener("resume", () => this.#seenAgain());
  }

  /** Epoch milliseconds by the server's clock. */
  serverNow() {
    return Date.now() + this.serverOffsetMs;
  }

  get #hasOpened() {
    return this.phase === Phase.OPEN || this.phase === Phase.SILENT;
  }

  #opened() {
    clearTimeout(this.#timer);
    this.everOpened = true;
    this.#openedAt = performance.now();
    this.#link = new Link(now());
    this.#lookTimer = setInterval(() => this.#look(), LOOK_EVERY_MS);
    this.#enter(Phase.OPEN);
    this.#ask();
  }

  #received(text) {
    const mayHaveWaited = this.#link.heard(now());
    if (mayHaveWaited && !text.includes(PONG)) this.#doubt();
    this.#onFrame(text, false);
    if (this.#takesText(text)) return;
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not ours to understand; the next frame may be
    }
    if (message === null || typeof message !== "object") return;
    if (message.type === "pong") this.#pong(message);
    else if (message.type === "reconnect") this.#hintMs = Number(message.after_ms) || 0;
    else this.#onMessage(message, text.length);
  }

  #look() {
    const advice = this.#link.look(now());
    if (advice === Advice.ASK) this.#ask();
    else if (advice === Advice.DOUBT) this.#doubt();
    else if (advice === Advice.GIVE_UP) this.#closed(1006, "");
  }

  #ask() {
    this.#pings += 1;
    this.#link.asked(now(), this.#pings);
    this.send({ action: "ping", timestamp: Date.now(), _pingId: this.#pings });
  }

  #doubt() {
    this.#link.doubt(now());
    if (this.phase !== Phase.SILENT) this.#enter(Phase.SILENT);
    if (this.#hasOpened) this.#ask(); // unless whoever heard it has closed
  }

  #seenAgain() {
    if (this.#hasOpened && !document.hidden && this.#link.isOutdated(now())) this.#doubt();
  }

  #pong(message) {
    if (this.#link.answered(message._pingId)) this.#enter(Phase.OPEN);
    const at = Date.now();
    const sentAt = Number(message.client_timestamp);
    if (!(sentAt > 0 && sentAt <= at)) return;
    this.roundTripMs = at - sentAt;
    if (message.server_timestamp && this.roundTripMs < TIMELY_MS) {
      this.serverOffsetMs = message.server_timestamp - (sentAt + at) / 2;
    }
  }

  #closed(code, reason) {
    // A browser fails the handshake of a server that does not know the subprotocol, and does not
    // say why: the next attempt goes without it, the one after that offers it again.
    this.#offers = this.#hasOpened || !this.#offers;
    const wasHealthy = this.#hasOpened && performance.now() - this.#openedAt > HEALTHY_AFTER_MS;
    this.#detach();
    this.closeCode = code;
    this.roundTripMs = NaN;
    const decision = afterClose(code);
    if (decision === "sign-in") return this.#enter(Phase.SIGNED_OUT);
    if (decision === "stop") return this.#enter(Phase.REFUSED);
    if (wasHealthy) this.#attempt = 0;
    const delay = Math.max(
      reconnectDelay(this.#attempt, this.#random),
      this.#hintMs,
      retryAfter(reason),
    );
    this.#hintMs = 0;
    this.#attempt += 1;
    this.retryAt = Date.now() + delay;
    this.#timer = setTimeout(() => this.open(), delay);
    return this.#enter(Phase.WAITING);
  }

  /** Let go of the socket without waiting for its close handshake, which a dead peer never ends. */
  #detach() {
    clearTimeout(this.#timer);
    clearInterval(this.#lookTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #enter(phase) {
    const before = this.phase;
    this.phase = phase;
    this.#onPhase(phase, before);
  }
}
