/**
 * Owns how a list is looked at: what it is sorted by and which columns are shown. Both are the
 * list's, `{sort?, columns?}` as the server keeps them; without them the order is the list's own,
 * and the columns are those that there is room for.
 */

/** What can be hidden. Symbol and last price cannot: neither is worth anything without the other. */
export const COLUMNS = Object.freeze({
  trend: "Trend",
  change: "Change",
  percent: "Change %",
  range: "Day range",
  bid: "Bid",
  ask: "Ask",
  volume: "Volume",
  age: "Age",
});

const SORTS = Object.freeze({
  symbol: "Symbol",
  last: "Last",
  change: "Change",
  percent: "Change %",
  bid: "Bid",
  ask: "Ask",
  volume: "Volume",
  age: "Age",
});
const FIELDS = { percent: "changePercent", age: "heardAt" };
const names = new Intl.Collator("en", { numeric: true });

/** The rows by `sort` ("volume", "-volume", or "" for their own order); unknown values last. Pure. */
export function sorted(rows, sort) {
  if (!sort) return rows;
  const isFalling = sort.startsWith("-");
  const column = sort.replace("-", "");
  const way = isFalling === (column === "age") ? 1 : -1; // the oldest was heard of first
  const byName = (a, b) => names.compare(a.symbol, b.symbol) || names.compare(a.exchange, b.exchange);
  if (column === "symbol") return [...rows].sort((a, b) => (isFalling ? -1 : 1) * byName(a, b));
  const field = FIELDS[column] ?? column;
  const isKnown = (row) => Number.isFinite(row[field]);
  return [...rows].sort((a, b) => {
    if (isKnown(a) !== isKnown(b)) return isKnown(a) ? -1 : 1;
    return way * (a[field] - b[field] || 0) || byName(a, b);
  });
}

/** The columns that a list's view leaves out. */
export function hiddenColumns({ columns }) {
  return columns ? Object.keys(COLUMNS).filter((column) => !columns.includes(column)) : [];
}

/** What a click on a column's title makes of `sort`: names rise first, figures fall, then neither. */
export function nextSort(sort, column) {
  const ways = column === "symbol" ? [column, `-${column}`, ""] : [`-${column}`, column, ""];
  return ways[(ways.indexOf(sort) + 1) % ways.length];
}

export class ListView {
  #nodes;
  #onChange;
  #view = {};
  #boxes = new Map(); // column -> its checkbox

  /** `nodes`: table, open, dialog, title, sort, way, columns, reset. `onChange(view)`: by the user. */
  constructor({ nodes, onChange }) {
    this.#nodes = nodes;
    this.#onChange = onChange;
    this.#addSecondHeader();
    nodes.table.tHead.addEventListener("click", ({ target }) => {
      const column = target.closest("[data-sort]")?.dataset.sort;
      if (column) this.#change({ sort: nextSort(this.sort, column) });
    });
    nodes.open.addEventListener("click", () => {
      nodes.dialog.showModal();
      this.#tick();
    });
    nodes.reset.addEventListener("click", () => this.#change({ sort: "", columns: undefined }));
    for (const node of [nodes.sort, nodes.way]) node.addEventListener("change", () => this.#chosen());
    nodes.sort.append(new Option("own order", ""));
    for (const [column, label] of Object.entries(SORTS)) nodes.sort.append(new Option(label, column));
    for (const [column, label] of Object.entries(COLUMNS)) this.#addBox(column, label);
  }

  get sort() {
    return this.#view.sort ?? "";
  }

  /** The rows in the order to show them in. */
  order(rows) {
    return sorted(rows, this.sort);
  }

  /** Show the table as this list is looked at. */
  show({ name = "", view = {} } = {}) {
    this.#view = view;
    const { table, title, sort, way } = this.#nodes;
    table.dataset.hidden = hiddenColumns(view).join(" ");
    table.toggleAttribute("data-chosen", Boolean(view.columns));
    table.toggleAttribute("data-sorted", Boolean(this.sort));
    for (const button of table.tHead.querySelectorAll("[data-sort]")) {
      const isSorted = this.sort.replace("-", "") === button.dataset.sort;
      const cell = button.closest("th");
      if (isSorted) cell.setAttribute("aria-sort", this.sort.startsWith("-") ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    title.textContent = `View of \u201c${name}\u201d`;
    sort.value = this.sort.replace("-", "");
    way.value = this.sort.startsWith("-") ? "-" : "";
    way.disabled = !this.sort;
    if (this.#nodes.dialog.open) this.#tick();
  }

  #tick() {
    for (const [column, box] of this.#boxes) box.checked = this.#isShown(column);
  }

  /** Without a choice what there is room for: as the style sheet says. */
  #isShown(column) {
    if (this.#view.columns) return this.#view.columns.includes(column);
    const cell = this.#nodes.table.tBodies[0].querySelector(`tr > .c-${column}`);
    return !cell || getComputedStyle(cell).display !== "none";
  }

  #chosen() {
    const { sort, way } = this.#nodes;
    const isFirst = sort.value && !this.sort; // figures are asked for largest first
    const sign = isFirst ? (sort.value === "symbol" ? "" : "-") : way.value;
    this.#change({ sort: sort.value && sign + sort.value });
  }

  #change(change) {
    const { sort, columns } = { ...this.#view, ...change };
    const view = { ...(sort && { sort }), ...(columns && { columns }) };
    this.#onChange(view);
  }

  #addBox(column, text) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.addEventListener("change", () => {
      const shown = [...this.#boxes].filter(([, each]) => each.checked).map(([name]) => name);
      this.#change({ columns: ["symbol", "last", ...shown] });
    });
    label.append(box, text);
    this.#nodes.columns.append(label);
    this.#boxes.set(column, box);
  }

  /** Titles over the second half of a long list; for the eye and the mouse only. */
  #addSecondHeader() {
    const { tHead } = this.#nodes.table;
    const second = tHead.rows[0].cloneNode(true);
    second.className = "second";
    second.setAttribute("aria-hidden", "true");
    for (const button of second.querySelectorAll("button")) button.tabIndex = -1;
    tHead.append(second);
  }
}
