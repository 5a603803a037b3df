/**
 * Owns the keys of the market watch: which key means what, and the dialog that says so.
 * `commandOf` is pure; `Keyboard` passes commands on.
 */

const COMMANDS = {
  "/": "search",
  n: "new-list",
  "[": "previous-list",
  "]": "next-list",
  "?": "help",
  j: "down",
  k: "up",
  ArrowDown: "down",
  ArrowUp: "up",
  Home: "first",
  End: "last",
  Delete: "remove",
  u: "undo",
  c: "transfer",
  Escape: "close",
};
const ON_ROWS = new Set(["ArrowDown", "ArrowUp", "Home", "End", "Delete", "c"]);

/**
 * The command of a key press, or "". Arrows and the like keep their usual meaning outside the rows;
 * keys with a modifier are the browser's, except Alt with an arrow, which moves a row.
 */
export function commandOf({ key, altKey, ctrlKey, metaKey }, { isTyping, isOnRow }) {
  if (isTyping || ctrlKey || metaKey) return "";
  if (altKey) {
    if (!isOnRow) return "";
    return { ArrowDown: "move-down", ArrowUp: "move-up" }[key] ?? "";
  }
  if (ON_ROWS.has(key) && !isOnRow) return "";
  return COMMANDS[key] ?? "";
}

export class Keyboard {
  /** `commands`: functions by name, each true when it did something; `isOnRow()`: see `commandOf`. */
  constructor({ commands, isOnRow }) {
    document.addEventListener("keydown", (event) => {
      if (event.isComposing || document.querySelector("dialog[open]")) return;
      const isTyping = Boolean(event.target.closest?.("input, textarea, select"));
      const name = commandOf(event, { isTyping, isOnRow: isOnRow() });
      if (name && commands[name]?.() !== false) event.preventDefault();
    });
  }
}
