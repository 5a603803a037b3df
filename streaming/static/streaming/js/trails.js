/**
 * Owns the trails of this tab, by instrument: they outlive a change of list and a reload, and end
 * with the tab. What storage cannot hold is begun anew.
 */

import { MAX_SAMPLES, SAMPLE_MS } from "./spark.js";

const MOST = 2000; // instruments; the ones begun first go first
const KEPT_MS = MAX_SAMPLES * SAMPLE_MS;

const isSample = (value) => Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);

export class Trails {
  #storage;
  #name;
  #trails = new Map();

  /** `storage`: the tab's, or null; what stands there is of this user only. */
  constructor({ storage, userId }) {
    this.#storage = storage;
    this.#name = `tickpool.trails.${userId}`;
    this.#load();
  }

  /** The trail of an instrument, without what is too old at `now` (epoch ms); whoever has it adds to it. */
  of(key, now) {
    const trail = this.#trails.get(key) ?? [];
    while (trail.length && now - trail[0][0] > KEPT_MS) trail.shift();
    this.#trails.delete(key);
    this.#trails.set(key, trail);
    if (this.#trails.size > MOST) this.#trails.delete(this.#trails.keys().next().value);
    return trail;
  }

  /** Write them where a reload finds them: when the page is hidden or left. */
  save(now) {
    const young = [...this.#trails].filter(([, trail]) => now - trail.at(-1)?.[0] < KEPT_MS);
    try {
      this.#storage?.setItem(this.#name, JSON.stringify(young));
    } catch {
      // full, or switched off: trails are a courtesy
    }
  }

  #load() {
    try {
      const stored = JSON.parse(this.#storage?.getItem(this.#name) ?? "[]");
      for (const [key, trail] of stored.slice(-MOST)) {
        if (Array.isArray(trail) && trail.every(isSample)) this.#trails.set(key, trail.slice(-MAX_SAMPLES));
      }
    } catch {
      // nothing of ours, or switched off
    }
  }
}

/** The tab's own storage, or null where the browser forbids it. */
export function tabStorage() {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}
