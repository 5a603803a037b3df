/**
 * Owns the bar of lists: a button for each, and the dialogs that name, rename and delete one.
 * `actions` do it; what they throw is shown in the dialog, which then stays open.
 */

import { count } from "./format.js";

export class ListBar {
  #nodes;
  #actions;
  #current = null;
  #submit = null;

  /**
   * `nodes`: tabs, create, rename, remove, dialog, title, note, label, name, error, confirm, cancel.
   * `actions`: select(id), create(name), rename(name), remove().
   */
  constructor({ nodes, actions }) {
    this.#nodes = nodes;
    this.#actions = actions;
    nodes.tabs.addEventListener("click", ({ target }) => {
      const tab = target.closest("button");
      if (tab) actions.select(Number(tab.dataset.id));
    });
    nodes.create.addEventListener("click", () => this.askNew());
    nodes.rename.addEventListener("click", () => this.#askRename());
    nodes.remove.addEventListener("click", () => this.#askRemove());
    nodes.cancel.addEventListener("click", () => nodes.dialog.close());
    nodes.dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#confirm();
    });
  }

  show(lists, current) {
    const tabs = lists.map((list) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.className = "tab";
      tab.dataset.id = String(list.id);
      tab.setAttribute("aria-pressed", String(list === current));
      tab.textContent = list.name;
      const size = document.createElement("span");
      size.className = "tab-size";
      size.textContent = String(list.symbols.length);
      size.title = count(list.symbols.length, "instrument");
      tab.append(" ", size);
      return tab;
    });
    const { tabs: region, rename, remove } = this.#nodes;
    const focused = region.contains(document.activeElement) ? document.activeElement.dataset.id : "";
    region.replaceChildren(...tabs);
    tabs.find((tab) => tab.dataset.id === focused)?.focus({ preventScroll: true });
    const shown = tabs[lists.indexOf(current)];
    if (shown) region.scrollLeft = shown.offsetLeft - (region.clientWidth - shown.offsetWidth) / 2;
    const isStored = Boolean(current) && current.id !== null;
    rename.disabled = !isStored;
    remove.disabled = !isStored || lists.length < 2;
    remove.title = lists.length < 2 ? "The last list stays" : "Delete this list";
    this.#current = current;
  }

  /** Ask for the name of a new list. */
  askNew() {
    this.#ask({ title: "New list", confirm: "Create", run: (name) => this.#actions.create(name) });
  }

  #askRename() {
    this.#ask({
      title: "Rename list",
      confirm: "Rename",
      name: this.#current.name,
      run: (name) => this.#actions.rename(name),
    });
  }

  #askRemove() {
    const { name, symbols } = this.#current;
    this.#ask({
      title: `Delete \u201c${name}\u201d?`,
      note: `Its ${count(symbols.length, "instrument")} will no longer be watched here.`,
      confirm: "Delete",
      name: null,
      run: () => this.#actions.remove(),
    });
  }

  /** `name` null asks for a yes only. */
  #ask({ title, note = "", confirm, name = "", run }) {
    const nodes = this.#nodes;
    nodes.title.textContent = title;
    nodes.note.textContent = note;
    nodes.note.hidden = !note;
    nodes.error.textContent = "";
    nodes.confirm.textContent = confirm;
    nodes.label.hidden = nodes.name.hidden = name === null;
    nodes.name.disabled = name === null;
    nodes.name.value = name ?? "";
    this.#submit = run;
    nodes.dialog.showModal();
    if (name === null) nodes.confirm.focus();
    else nodes.name.select();
  }

  async #confirm() {
    const { confirm, dialog, error, name } = this.#nodes;
    confirm.disabled = true;
    error.textContent = "";
    try {
      await this.#submit(name.value.trim());
      dialog.close();
    } catch (problem) {
      error.textContent = problem.message;
    } finally {
      confirm.disabled = false;
    }
  }
}
