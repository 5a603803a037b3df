/**
 * Owns the choice of the exchange that comes first in a search: the user's, kept by the server.
 */

import { fetchPreferences, savePreferences } from "./api.js";

const LABELS = { GLOBAL_INDEX: "Global" };

export class PreferredExchange {
  #select;
  #onChanged;
  #onError;

  /** `onChanged()` is told once the server has taken a choice. */
  constructor({ select, onChanged, onError }) {
    this.#select = select;
    this.#onChanged = onChanged;
    this.#onError = onError;
    select.addEventListener("change", () => this.#save());
  }

  /** Offer what the user's brokers trade; with one exchange there is nothing to choose. */
  async load() {
    try {
      this.#show(await fetchPreferences());
    } catch {
      // A courtesy: the usual order holds, and the next page load asks again.
    }
  }

  #show({ preferred_exchange: chosen, exchanges }) {
    if (!Array.isArray(exchanges) || exchanges.length < 2) return;
    this.#select.replaceChildren(
      ...exchanges.map((name, at) => {
        const option = document.createElement("option");
        // The first one is the usual order, which is no choice.
        option.value = at === 0 ? "" : name;
        option.textContent = `${LABELS[name] ?? name} first`;
        return option;
      }),
    );
    this.#select.value = chosen === exchanges[0] ? "" : chosen;
    if (this.#select.selectedIndex < 0) this.#select.value = "";
    this.#select.hidden = false;
  }

  async #save() {
    try {
      await savePreferences({ preferred_exchange: this.#select.value });
      this.#onChanged();
    } catch (error) {
      this.#onError(error);
    }
  }
}
