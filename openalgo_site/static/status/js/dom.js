/**
 * Owns writing to the page without touching what did not change.
 */

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setData(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

export function setTitle(node, text) {
  if (node.title !== text) node.title = text;
}

export function setHidden(node, isHidden) {
  if (node.hidden !== isHidden) node.hidden = isHidden;
}

/** The nodes of a template's copy by their data-field. */
export function copyOf(template) {
  const element = template.content.firstElementChild.cloneNode(true);
  const nodes = {};
  for (const node of element.querySelectorAll("[data-field]")) nodes[node.dataset.field] = node;
  return { element, nodes };
}

/** A badge: its tone gives shape and colour, its word the meaning. */
export function badge(node, { tone, word }) {
  setData(node, "tone", tone);
  setText(node, word);
}

/** Bring a table's body to as many rows as there are, and fill each: `fill(cells, item, row)`. */
export function fillRows(body, items, columns, fill) {
  while (body.rows.length > items.length) body.deleteRow(-1);
  while (body.rows.length < items.length) body.append(newRow(columns));
  items.forEach((item, index) => fill(body.rows[index].cells, item, body.rows[index]));
}

function newRow(columns) {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  for (const { label, isHeader, className } of columns) {
    const cell = document.createElement(isHeader ? "th" : "td");
    cell.setAttribute("role", isHeader ? "rowheader" : "cell");
    if (isHeader) cell.scope = "row";
    if (className) cell.className = className;
    if (label) cell.dataset.label = label; // what a narrow screen shows instead of the head
    row.append(cell);
  }
  return row;
}
