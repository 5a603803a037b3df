/**
 * Decides how far figures may be believed while time goes by without news.
 * Pure: no DOM, no clock of its own. Times are milliseconds.
 */

/** Figures come each second and workers write each second; more silence than this is no hiccup. */
export const SILENT_AFTER_MS = 4000;

/** Whether the gateway still sends: `sinceFigures` is the time since its last figures. */
export function isCurrent(isOpen, sinceFigures) {
  return isOpen && sinceFigures < SILENT_AFTER_MS;
}

/** Since when a pool's worker has said nothing, `sinceFigures` after they came. */
const silenceOf = (pool, sinceFigures) => (pool.heartbeat_age_ms ?? 0) + sinceFigures;

/** Whether figures come and say of this pool's worker that it has fallen silent. */
function isSilent(pool, { isOpen, sinceFigures }) {
  return isCurrent(isOpen, sinceFigures) && pool.is_served && silenceOf(pool, sinceFigures) >= SILENT_AFTER_MS;
}

/** The pool with what may still be believed of it: what a worker holds is not known once it is silent. */
export function believed(pool, when) {
  if (!isSilent(pool, when)) return pool;
  const none = { used: 0, waiting: 0, connections_used: 0, connections_trying: 0 };
  return { ...pool, ...none, is_served: false, connections: [], connections_left_out: 0 };
}

/**
 * The state to show for a pool as it was sent `sinceFigures` ago: `{tone, word, reason}`.
 * What nobody keeps up to date is stale, whatever it was before; a worker that is silent is none.
 */
export function shownState(pool, when) {
  const { isOpen, sinceFigures } = when;
  if (!isCurrent(isOpen, sinceFigures)) {
    const why = isOpen ? "no figures from the gateway" : "not connected to the gateway";
    return { tone: "warn", word: "stale", reason: `${why} for ${seconds(sinceFigures)}; it was ${pool.state}` };
  }
  if (isSilent(pool, when)) {
    const silence = seconds(silenceOf(pool, sinceFigures));
    return { tone: "bad", word: "no worker", reason: `no word from its worker for ${silence}; it was ${pool.state}` };
  }
  return { tone: pool.tone, word: pool.state, reason: pool.state === "live" ? "" : pool.reason };
}

/** How many pools are in each state, `{word: number}`: as sent, but for those shown that went silent. */
export function countedStates({ states, pools }, when) {
  const counted = { ...states };
  for (const pool of pools) {
    const { word } = shownState(pool, when);
    if (word === pool.state || !counted[pool.state]) continue;
    counted[pool.state] -= 1;
    counted[word] = (counted[word] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counted).filter(([, number]) => number > 0));
}

/** The same for a gateway, by the age of its row. */
export function shownGateway(gateway, { sinceFigures }) {
  const silence = gateway.heartbeat_age_ms + sinceFigures;
  // It writes every two seconds.
  return silence >= SILENT_AFTER_MS + 2000 ? { tone: "bad", word: "silent" } : { tone: "good", word: "serves" };
}

/** An age that goes on growing; undefined where nobody knows it. */
export function grown(ageMs, sinceFigures) {
  return ageMs === null || ageMs === undefined ? undefined : ageMs + sinceFigures;
}

/** Credential: `{tone, text}` from what is stored and when it ends. */
export function credential(pool, nowMs, { age, moment }) {
  if (!pool.has_credential) return { tone: "off", text: "none stored" };
  const expiry = pool.credential_expiry_ms;
  if (expiry === null) return { tone: "off", text: "stored, end not known" };
  const left = expiry - nowMs;
  if (left <= 0) return { tone: "bad", text: `expired ${age(-left)} ago, ${moment(expiry)}` };
  return { tone: left < 3_600_000 ? "warn" : "good", text: `ends in ${age(left)}, ${moment(expiry)}` };
}

/** Limits: which revision is in force, and whether a newer one waits to be. */
export function revision(pool) {
  const { revision: saved, applied_revision: applied } = pool;
  if (applied === null || !pool.is_served) return { tone: "off", text: `revision ${saved}, not in force` };
  if (applied !== saved) return { tone: "warn", text: `revision ${applied} in force, ${saved} is saved` };
  return { tone: "good", text: `revision ${applied} in force` };
}

function seconds(ms) {
  return Number.isFinite(ms) ? `${Math.floor(ms / 1000)} s` : "some time";
}
