// Leads to the broker's login page, once the worker has asked for it where that is needed.

const EVERY_MS = 400;
const page = document.querySelector("#going");
const link = document.querySelector("#go");
const note = document.querySelector("#going-note");

async function ask() {
  try {
    const answer = await fetch(page.dataset.ask);
    const now = await answer.json();
    if (now.url) {
      link.href = now.url;
      link.hidden = false;
      location.replace(now.url);
      return;
    }
    if (!now.is_open) {
      note.textContent = now.result;
      location.replace(page.dataset.back);
      return;
    }
  } catch {
    note.textContent = "The server does not answer; trying again…";
  }
  setTimeout(ask, EVERY_MS);
}

// Replaced, so that the broker's Back button does not begin a second login.
if (link.getAttribute("href")) location.replace(link.href);
else ask();
