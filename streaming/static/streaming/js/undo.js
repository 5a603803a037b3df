/** Owns the offer to take a removal back: what was removed last, for ten seconds. */

import { count } from "./format.js";

const OFFERED_MS = 10_000;

export class Undo {
  #nodes;
  #what = []; // of one kind and list: `{text, run}`, the first removed first
  #group = null;
  #timer = 0;

  /** `nodes`: toast, text, run, close. */
  constructor(nodes) {
    this.#nodes = nodes;
    nodes.run.addEventListener("click", () => this.run());
    nodes.close.addEventListener("click", () => this.forget());
  }

  /** Offer to undo: `run()` does it. What has the same `group` is taken back together. */
  offer({ group, text, run }) {
    if (group !== this.#group) this.#what = [];
    this.#group = group;
    this.#what.push({ text, run });
    const others = this.#what.length - 1;
    this.#nodes.text.textContent = others ? `${text} and ${count(others, "other")} removed` : `${text} removed`;
    this.#nodes.toast.hidden = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.forget(), OFFERED_MS);
  }

  /** Take it back, the last one first; false when there is nothing. */
  run() {
    const what = this.#what;
    this.forget();
    for (const { run } of what.reverse()) run();
    return what.length > 0;
  }

  forget() {
    clearTimeout(this.#timer);
    this.#what = [];
    this.#group = null;
    this.#nodes.toast.hidden = true;
  }
}
