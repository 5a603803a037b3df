/**
 * Owns light and dark: the system's choice, or the user's. A classic script in the head, so that a
 * page is painted in its colours from the start. The key is Django's admin's own: one choice for both.
 */
(() => {
  const KEY = "theme";
  const NAMES = { auto: "Auto", light: "Light", dark: "Dark" };
  const ORDER = Object.keys(NAMES);
  const root = document.documentElement;

  function stored() {
    try {
      const value = localStorage.getItem(KEY);
      return ORDER.includes(value) ? value : "auto";
    } catch {
      return "auto"; // storage may be switched off
    }
  }

  function choose(theme) {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (!button) return;
    button.hidden = false;
    button.textContent = theme === "auto" ? "Colours" : NAMES[theme];
    button.setAttribute("aria-label", `Colours: ${NAMES[theme].toLowerCase()}. Change`);
  }

  choose(stored());
  window.addEventListener("storage", (event) => event.key === KEY && choose(stored()));
  document.addEventListener("DOMContentLoaded", () => {
    choose(root.dataset.theme);
    document.getElementById("theme")?.addEventListener("click", () => {
      const next = ORDER[(ORDER.indexOf(root.dataset.theme) + 1) % ORDER.length];
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // the choice then lasts as long as the page
      }
      choose(next);
    });
  });
})();
