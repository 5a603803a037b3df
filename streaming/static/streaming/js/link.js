/**
 * Decides how far a socket may be believed while it says nothing: when to ask, when to doubt, what
 * proves that the other side is there, and when to give the socket up. The rule of every page.
 * Pure: no timer and no clock of its own. A time is `{steady, wall}`, both in milliseconds: the
 * steady clock stands still while a machine sleeps, the wall clock jumps when it is set; whichever
 * went further is believed, because a needless doubt ends with the next answer. A page that stood
 * still (frozen, or its machine asleep) is given all that waited at once, as if it were news: where
 * neither a frame nor a look came for long, what comes before an answer to a new question is doubted.
 */

/** After this long without a frame nothing is shown as current. `LOOK_EVERY_MS` later at most: 4 s. */
export const SILENT_AFTER_MS = 3500;

/** How often to look. */
export const LOOK_EVERY_MS = 500;

const ASK_AFTER_MS = 1000; // so that an answer has more than two seconds to come
const ASK_EVERY_MS = 10_000; // ticks prove the way here, but the round trip is measured, too
const ANSWER_WITHIN_MS = 1500; // a hidden page's timers come late: it must have asked first
const GIVE_UP_AFTER_MS = 6000; // of doubt: a new socket is the faster way back

/** What `look` wants to be done. */
export const Advice = Object.freeze({ NOTHING: "nothing", ASK: "ask", DOUBT: "doubt", GIVE_UP: "give-up" });

const between = (from, to) => Math.max(to.steady - from.steady, to.wall - from.wall);

export class Link {
  #heardAt;
  #askedAt = null; // of the latest question
  #isAnswered = true;
  #doubtedAt = null; // since when nothing proves that anybody is there; null while it is believed
  #proof = null; // the question whose answer ends the doubt
  #ranAt; // when the page last had a turn here: a frame, or a look
  #hasStoodStill = false; // it had none for too long: what comes first has waited for it
  #proofOfNow = null; // the question behind whose answer nothing has

  /** A socket has opened at `now`. */
  constructor(now) {
    this.#heardAt = this.#ranAt = now;
  }

  /** Whether what came over this socket may be shown as current. */
  get isBelieved() {
    return this.#doubtedAt === null;
  }

  /**
   * A frame came. It ends no doubt: it may have waited on its way since before. True when it may
   * have waited here, with the page frozen or its machine asleep: unless it is an answer, `doubt`.
   */
  heard(now) {
    this.#run(now);
    this.#heardAt = now;
    return this.isBelieved && this.#hasStoodStill;
  }

  #run(now) {
    if (between(this.#ranAt, now) >= SILENT_AFTER_MS) {
      this.#hasStoodStill = true;
      this.#proofOfNow = null;
    }
    this.#ranAt = now;
  }

  /** A question went out; `mark` comes back with its answer. */
  asked(now, mark) {
    this.#askedAt = now;
    this.#isAnswered = false;
    if (!this.isBelieved) this.#proof ??= mark;
    if (this.#hasStoodStill) this.#proofOfNow ??= mark;
  }

  /** The answer to the question `mark` came; true when it ends a doubt. */
  answered(mark) {
    this.#isAnswered = true;
    if (this.#proofOfNow !== null && mark >= this.#proofOfNow) this.#hasStoodStill = false;
    // Answers come in order: the one to a later question proves as much.
    if (this.isBelieved || this.#proof === null || !(mark >= this.#proof)) return false;
    this.#doubtedAt = null;
    return true;
  }

  /** Believe nothing until a question that is asked from now on is answered. */
  doubt(now) {
    this.#doubtedAt ??= now;
    this.#proof = null;
  }

  /** Whether it has been silent for too long, asked or not (the page was hidden, the machine slept). */
  isOutdated(now) {
    return between(this.#heardAt, now) >= SILENT_AFTER_MS;
  }

  /** What to do at `now`: see `Advice`. After DOUBT, call `doubt`, and ask. */
  look(now) {
    this.#run(now);
    const silence = between(this.#heardAt, now);
    const sinceAsked = this.#askedAt ? between(this.#askedAt, now) : Infinity;
    if (!this.isBelieved) {
      if (between(this.#doubtedAt, now) >= GIVE_UP_AFTER_MS) return Advice.GIVE_UP;
      return sinceAsked >= ASK_AFTER_MS ? Advice.ASK : Advice.NOTHING;
    }
    if (this.#hasStoodStill && this.#proofOfNow === null) return Advice.ASK;
    if (this.#isAnswered) {
      return silence >= ASK_AFTER_MS || sinceAsked >= ASK_EVERY_MS ? Advice.ASK : Advice.NOTHING;
    }
    if (silence >= SILENT_AFTER_MS && sinceAsked >= ANSWER_WITHIN_MS) return Advice.DOUBT;
    return sinceAsked >= ASK_EVERY_MS ? Advice.ASK : Advice.NOTHING;
  }
}
