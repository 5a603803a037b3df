/**
 * Owns the bar of lists: a button for each, and the dialogs that name, rename and delete one.
 * `actions` do it; what they throw is shown in the dialog, which then stays open. Who closes it
 * earlier goes on where they are: what was asked for is done all the same, and a failure is told.
 */

import { count } from "./format.js";

export class ListBar {
  #nodes;
  #actions;
  #current = null;
  #question = null; // what the open dialog asks

  /**
   * `nodes`: tabs, create, rename, remove, view, fold, actions, dialog, title, note, label, name, error, confirm, cancel.
   * `actions`: select(id), create(name, isAwaited), created(), rename(name), remove(),
   * failed(title, error); `isAwaited()` tells whether the dialog is still open for it.
   */
  constructor({ nodes, actions }) {
    this.#nodes = nodes;
    this.#actions = actions;
    nodes.tabs.addEventListener("click", ({ target }) => {
      const tab = target.closest("button");
      if (tab) actions.select(JSON.parse(tab.dataset.id)); // null: not stored yet
    });
    nodes.create.addEventListener("click", () => this.askNew());
    nodes.rename.addEventListener("click", () => this.#askRename());
    nodes.remove.addEventListener("click", () => this.#askRemove());
    nodes.fold.addEventListener("click", () => {
      const isOpen = nodes.actions.toggleAttribute("data-open");
      nodes.fold.setAttribute("aria-expanded", String(isOpen));
    });
    nodes.cancel.addEventListener("click", () => this.#close());
    nodes.dialog.addEventListener("close", () => {
      this.#letGo();
      if (!nodes.dialog.open) this.#question = null;
    });
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
    this.#nodes.view.disabled = !current;
    this.#current = current;
  }

  /** Ask for the name of a new list. */
  askNew() {
    this.#ask({
      title: "New list",
      confirm: "Create",
      failure: (name) => `List \u201c${name}\u201d was not made.`,
      run: (name, isAwaited) => this.#actions.create(name, isAwaited),
      done: () => this.#actions.created(),
    });
  }

  #askRename() {
    this.#ask({
      title: "Rename list",
      confirm: "Rename",
      name: this.#current.name,
      failure: (name) => `The list was not renamed to \u201c${name}\u201d.`,
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
      failure: () => `List \u201c${name}\u201d was not deleted.`,
      run: () => this.#actions.remove(),
    });
  }

  /** `name` null asks for a yes only. */
  #ask({ title, note = "", confirm, name = "", failure, run, done = () => {} }) {
    const nodes = this.#nodes;
    nodes.title.textContent = title;
    nodes.note.textContent = note;
    nodes.note.hidden = !note;
    nodes.error.textContent = "";
    nodes.confirm.disabled = false;
    nodes.confirm.textContent = confirm;
    nodes.label.hidden = nodes.name.hidden = name === null;
    nodes.name.disabled = name === null;
    nodes.name.value = name ?? "";
    this.#question = { failure, run, done };
    nodes.dialog.showModal();
    if (name === null) nodes.confirm.focus();
    else nodes.name.select();
  }

  async #confirm() {
    const { confirm, dialog, error } = this.#nodes;
    const name = this.#nodes.name.value.trim();
    const question = this.#question;
    const isAwaited = () => dialog.open && this.#question === question;
    confirm.disabled = true;
    error.textContent = "";
    try {
      await question.run(name, isAwaited);
      if (!isAwaited()) return;
      this.#close();
      question.done();
    } catch (problem) {
      if (!isAwaited()) {
        this.#actions.failed(question.failure(name), problem);
        return;
      }
      error.textContent = problem.message;
      confirm.disabled = false;
    }
  }

  #close() {
    this.#nodes.dialog.close();
    this.#letGo();
  }

  /** A closed dialog's field keeps the focus until the next frame, and takes the keys till then. */
  #letGo() {
    if (!this.#nodes.dialog.open) this.#nodes.name.blur();
  }
}
