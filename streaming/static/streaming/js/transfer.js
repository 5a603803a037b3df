/**
 * Owns the ways of instruments between lists and files: the dialog that takes a pasted list or a CSV
 * file, the one that copies or moves a row to another list, and the file of a list.
 */

import { csvOf, labelOf, parseNames } from "./names.js";

const MAX_FILE_BYTES = 200_000; // a thousand names have a tenth of that
const SHOWN = 8;

/** What came of a pasted list, in a sentence; pure. */
export function reportOf({ added, listed = 0, left = 0, missing = [] }) {
  const parts = [`${added} added`];
  if (listed) parts.push(`${listed} already in the list`);
  if (left) parts.push(`${left} left out because a list is full`);
  const shown = missing.slice(0, SHOWN).map(labelOf).join(", ");
  const more = missing.length > SHOWN ? ` and ${missing.length - SHOWN} more` : "";
  const unknown = missing.length ? ` Not found: ${shown}${more}.` : "";
  return `${parts.join(", ")}.${unknown}`;
}

export class ImportDialog {
  #nodes;
  #onNames;
  #onFailed;
  #opened = 0; // times: what is asked for in a dialog that was left goes on

  /**
   * `nodes`: open, dialog, text, file, error, confirm, cancel; `onNames(names)` adds them, or throws;
   * `onFailed(error)` hears of that when the dialog that asked is not open any more.
   */
  constructor({ nodes, onNames, onFailed }) {
    this.#nodes = nodes;
    this.#onNames = onNames;
    this.#onFailed = onFailed;
    nodes.open.addEventListener("click", () => this.#open());
    nodes.cancel.addEventListener("click", () => nodes.dialog.close());
    nodes.file.addEventListener("change", () => this.#read(nodes.file.files[0]));
    nodes.dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#confirm();
    });
  }

  #open() {
    const { dialog, text, file, error, confirm } = this.#nodes;
    text.value = file.value = error.textContent = "";
    confirm.disabled = false;
    this.#opened += 1;
    dialog.showModal();
    text.focus();
  }

  async #read(file) {
    const { text, error } = this.#nodes;
    error.textContent = "";
    if (!file) return;
    if (file.size > MAX_FILE_BYTES) error.textContent = `A file has at most ${MAX_FILE_BYTES / 1000} kB.`;
    else {
      const opened = this.#opened;
      const content = await file.text();
      if (opened === this.#opened) text.value = content;
    }
  }

  async #confirm() {
    const { dialog, text, error, confirm } = this.#nodes;
    const names = parseNames(text.value);
    error.textContent = names.length ? "" : "There is no name in it. A name reads NSE:INFY, or INFY.";
    if (!names.length) return;
    const opened = this.#opened;
    const isAwaited = () => dialog.open && opened === this.#opened;
    confirm.disabled = true;
    try {
      await this.#onNames(names);
      if (isAwaited()) dialog.close();
    } catch (problem) {
      if (!isAwaited()) return this.#onFailed(problem);
      error.textContent = `Nothing was added: ${problem.message}.`;
    }
    if (isAwaited()) confirm.disabled = false;
  }
}

export class TransferDialog {
  #nodes;
  #actions;
  #row = null;
  #lists = []; // what the open dialog offers, in the order of its options

  /** `nodes`: dialog, title, list, error, cancel; `actions`: copy(row, list), move(row, list), may throw. */
  constructor({ nodes, actions }) {
    this.#nodes = nodes;
    this.#actions = actions;
    nodes.cancel.addEventListener("click", () => nodes.dialog.close());
    nodes.dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#confirm(event.submitter.value);
    });
  }

  /** Ask where to; false when there is no other list. */
  ask(row, lists) {
    if (!row || !lists.length) return false;
    const { dialog, title, list, error } = this.#nodes;
    this.#row = row;
    this.#lists = lists;
    title.textContent = `${row.symbol} (${row.exchange}) to another list`;
    error.textContent = "";
    list.replaceChildren(...lists.map(({ name }) => new Option(name)));
    dialog.showModal();
    return true;
  }

  #confirm(action) {
    const { dialog, list, error } = this.#nodes;
    try {
      this.#actions[action](this.#row, this.#lists[list.selectedIndex]);
      dialog.close();
    } catch (problem) {
      error.textContent = `${problem.message}.`;
    }
  }
}

/** Hand the browser a file of the list. */
export function download(name, rows) {
  const url = URL.createObjectURL(new Blob([csvOf(rows)], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${name.replace(/[^\p{L}\p{N}._-]+/gu, "-") || "list"}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 0);
}
