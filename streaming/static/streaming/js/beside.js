/**
 * Owns the list that stands beside the current one where there is room: which one it is, its table,
 * and that its rows are held while it is seen. It is looked at as it is kept; changing it is for
 * whoever makes it the current one.
 */

import { Ladder } from "./ladder.js";
import { Table } from "./table.js";
import { hiddenColumns, sorted } from "./view.js";

const ROOM = "(min-width: 1600px)";

export class Beside {
  #nodes;
  #actions;
  #storageKey;
  #room = matchMedia(ROOM);
  #wanted = null; // the id of the list
  #list = null; // what is shown
  #rows = ""; // its instruments, as they were held last
  #offered = "";
  #sort = "";

  /**
   * `nodes`: sheets, table, title, choice, rowTemplate, ladderTemplate. `actions`: find() returns
   * `{lists, current}`, hold(instruments, id) has the store hold them.
   */
  constructor({ nodes, userId, store, now, actions }) {
    this.#nodes = nodes;
    this.#actions = actions;
    this.#storageKey = `tickpool.beside.${userId}`;
    this.#wanted = this.#remembered();
    this.table = new Table({
      body: nodes.table.tBodies[0],
      template: nodes.rowTemplate,
      store,
      rows: () => sorted(store.besideRows(), this.#sort),
      now,
      ladder: new Ladder(nodes.ladderTemplate),
      onRemove: () => {},
    });
    nodes.choice.addEventListener("change", () => {
      this.#want(Number(nodes.choice.value) || null);
      this.update();
    });
    this.#room.addEventListener("change", () => this.update());
  }

  get isShown() {
    return this.#list !== null;
  }

  /** Another list is the current one: the one before takes its place here, if it stood here. */
  switched(before) {
    if (before && this.#actions.find().current?.id === this.#wanted) this.#want(before.id);
  }

  /** The lists, the current one or the room have changed. */
  update() {
    const { lists, current } = this.#actions.find();
    const others = lists.filter(({ id }) => id !== null && id !== current?.id);
    this.#offer(others);
    const list = (this.#room.matches && others.find(({ id }) => id === this.#wanted)) || null;
    this.#look(list);
    const rows = JSON.stringify(list?.symbols ?? []);
    if (list?.id === this.#list?.id && rows === this.#rows) return;
    this.#list = list;
    this.#rows = rows;
    this.#actions.hold(list?.symbols ?? [], list?.id ?? null);
    this.table.showAll();
  }

  /** Once a second; `isTurn`: sorted rows are brought into order now. */
  second(isTurn) {
    if (!this.isShown) return;
    this.table.second();
    if (this.#sort && isTurn) this.table.arrange();
  }

  #look(list) {
    const { sheets, table, title } = this.#nodes;
    sheets.toggleAttribute("data-two", list !== null);
    table.hidden = list === null;
    table.setAttribute("aria-label", list ? `List ${list.name}` : "");
    title.textContent = list?.name ?? "";
    table.dataset.hidden = hiddenColumns(list?.view ?? {}).join(" ");
    const sort = list?.view?.sort ?? "";
    if (sort !== this.#sort) this.table.arrange();
    this.#sort = sort;
  }

  #offer(others) {
    const { choice } = this.#nodes;
    const offered = JSON.stringify([this.#wanted, others.map(({ id, name }) => [id, name])]);
    if (offered === this.#offered) return; // a choice that is open would close
    this.#offered = offered;
    const options = [new Option("nothing", ""), ...others.map(({ id, name }) => new Option(name, String(id)))];
    choice.replaceChildren(...options);
    choice.value = others.some(({ id }) => id === this.#wanted) ? String(this.#wanted) : "";
    choice.disabled = !others.length;
  }

  #want(id) {
    this.#wanted = id;
    try {
      localStorage.setItem(this.#storageKey, JSON.stringify(id));
    } catch {
      // switched off: it holds for this page
    }
  }

  #remembered() {
    try {
      return JSON.parse(localStorage.getItem(this.#storageKey));
    } catch {
      return null;
    }
  }
}
