// Keeps the cards true while they are looked at, and copies the redirect address.

const EVERY_MS = 1500;
const page = document.querySelector("#brokers");

function part(card, name) {
  return card.querySelector(`[data-part="${name}"]`);
}

// A text that is written again is read out again by screen readers, changed or not.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function show(card, now) {
  const state = part(card, "state");
  card.dataset.tone = state.dataset.tone = now.tone;
  put(state, now.state);
  put(part(card, "reason"), now.reason);
  const token = part(card, "token");
  token.dataset.tone = now.token_tone;
  put(token, now.token);
  const attempt = part(card, "attempt");
  if (attempt && now.attempt) put(attempt, `Login: ${now.attempt_word}…`);
}

// Whether a login has begun or ended since the page was made: its card is another one then.
function isAnother(card, now) {
  return card.dataset.attempt !== (now.attempt === null ? "" : String(now.attempt));
}

async function look() {
  const answer = await fetch(page.dataset.cards, { headers: { Accept: "application/json" } });
  if (!answer.ok) return answer.redirected;
  const { cards } = await answer.json();
  for (const now of cards) {
    const card = document.querySelector(`#account-${now.id}`);
    if (!card || isAnother(card, now)) return true;
    show(card, now);
  }
  return cards.length !== document.querySelectorAll(".account").length;
}

async function goOn() {
  if (!document.hidden) {
    try {
      if (await look()) {
        location.reload();
        return;
      }
      page.removeAttribute("data-old");
    } catch {
      page.dataset.old = "true"; // the server is away: what stands here may be old
    }
  }
  setTimeout(goOn, EVERY_MS);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl+C";
    }
  });
}

if (page && document.querySelector(".account")) setTimeout(goOn, EVERY_MS);
