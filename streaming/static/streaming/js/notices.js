/**
 * Owns the messages to the user: what went wrong, what can be done, and how to send it away.
 * A notice with the key of an older one replaces it, so that repeats do not pile up.
 */

const MAX_NOTICES = 4;
const PASSING_MS = 10_000;

export class Notices {
  #region;
  #shown = new Map();

  constructor(region) {
    this.#region = region;
  }

  /**
   * Show a message. `kind` is "error", "warning" or "info"; `actions` are `{label, run}` buttons,
   * each of which also dismisses the notice. One that is `isPassing` goes by itself.
   */
  show({ key, kind = "info", title = "", text, actions = [], isPassing = false }) {
    this.dismiss(key);
    const notice = document.createElement("div");
    notice.className = `notice notice-${kind}`;
    notice.setAttribute("role", kind === "error" ? "alert" : "status");
    const body = document.createElement("div");
    body.className = "notice-body";
    if (title) body.append(element("strong", "", title), " ");
    body.append(element("span", "", text));
    if (actions.length) body.append(this.#actions(key, actions));
    const close = element("button", "icon-button notice-close", "\u00d7");
    close.type = "button";
    close.setAttribute("aria-label", "Dismiss this message");
    close.addEventListener("click", () => this.dismiss(key));
    notice.append(body, close);
    this.#region.append(notice);
    this.#shown.set(key, notice);
    if (isPassing) setTimeout(() => this.#shown.get(key) === notice && this.dismiss(key), PASSING_MS);
    const oldest = this.#shown.keys().next().value;
    if (this.#shown.size > MAX_NOTICES) this.dismiss(oldest);
  }

  isShown(key) {
    return this.#shown.has(key);
  }

  dismiss(key) {
    this.#shown.get(key)?.remove();
    this.#shown.delete(key);
  }

  #actions(key, actions) {
    const line = element("div", "notice-actions", "");
    for (const { label, run } of actions) {
      const button = element("button", "button button-small", label);
      button.type = "button";
      button.addEventListener("click", () => {
        this.dismiss(key);
        run();
      });
      line.append(button);
    }
    return line;
  }
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
