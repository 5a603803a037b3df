/**
 * Owns the choice of the exchange that comes first in a search: the user's, kept by the server.
 */

import { fetchPreferences, savePreferences } from "./api.js";

const LABELS = { GLOBAL_INDEX: "Global" };

export class PreferredExchange {
  #select;
  #onChanged;
  #onError;
  #kept = ""; // as the server has it
  #isSaving = false; // one at a time: two under way could arrive in either order

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
    this.#kept = this.#select.value;
    this.#select.hidden = false;
  }

  /** Save what is chosen; what is chosen meanwhile is saved behind it. */
  async #save() {
    if (this.#isSaving) return;
    this.#isSaving = true;
    while (this.#select.value !== this.#kept) await this.#saveOne(this.#select.value);
    this.#isSaving = false;
  }

  async #saveOne(value) {
    try {
      await savePreferences({ preferred_exchange: value });
      this.#kept = value;
      this.#onChanged();
    } catch (error) {
      if (this.#select.value !== value) return; // nobody wants that one any more
      this.#select.value = this.#kept;
      this.#onError(error);
    }
  }
}
