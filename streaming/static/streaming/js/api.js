/**
 * Owns HTTP to our own site: JSON in and out, the CSRF token, and noticing that the session ended.
 */

const TIMEOUT_MS = 10_000;

/** An answer that is not a success. `status` is 0 when there was none. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  get isSignedOut() {
    return this.status === 401;
  }
}

function csrfToken() {
  // The cookie is current also after a login in another tab; the form's value may be older.
  const cookie = /(?:^|;\s*)csrftoken=([^;]+)/.exec(document.cookie);
  if (cookie) return decodeURIComponent(cookie[1]);
  return document.querySelector("input[name=csrfmiddlewaretoken]")?.value ?? "";
}

async function request(path, { method = "GET", body, signal, keepalive = false } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "manual", // a redirect to the login page is an answer too
      keepalive,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "the server cannot be reached");
  }
  if (response.type === "opaqueredirect") throw new ApiError(401, "signed out");
  const answer = await response.json().catch(() => undefined);
  if (!response.ok) {
    throw new ApiError(response.status, answer?.message || `the server answered ${response.status}`);
  }
  if (answer === undefined) throw new ApiError(response.status, "its answer could not be read");
  return answer;
}

/** Instruments matching `q`, and why there are none: `{results: [{symbol, exchange, ...}], reason}`. */
export async function searchInstruments({ q = "", exchange = "", limit = 12, signal } = {}) {
  const query = new URLSearchParams({ q, limit: String(limit) });
  if (exchange) query.set("exchange", exchange);
  const answer = await request(`/api/instruments?${query}`, { signal });
  return {
    results: Array.isArray(answer?.results) ? answer.results : [],
    reason: typeof answer?.reason === "string" ? answer.reason : "",
  };
}

/** Instruments matching `q`: `[{symbol, exchange, name, tick_size, ...}]`. */
export async function findInstruments(search) {
  return (await searchInstruments(search)).results;
}

/** One instrument by its exact name, or undefined. */
export async function findExactly(exchange, symbol) {
  const results = await findInstruments({ q: symbol, exchange, limit: 20 });
  return results.find((item) => item.exchange === exchange && item.symbol === symbol);
}

/** What the user prefers and what there is to choose from: `{preferred_exchange, exchanges}`. */
export function fetchPreferences() {
  return request("/api/preferences");
}

export function savePreferences(change) {
  return request("/api/preferences", { method: "PUT", body: change });
}

/** The pools that this user may see, with their statistics. */
export async function fetchPools() {
  const answer = await request("/api/pools");
  return Array.isArray(answer?.results) ? answer.results : [];
}

/** The user's lists, `[{id, name, symbols}]`, in their order. */
export async function fetchLists() {
  const answer = await request("/api/watchlists");
  return Array.isArray(answer?.lists) ? answer.lists : [];
}

/** Make a list; `keepalive` lets the request outlive the page. */
export function createList({ name, symbols, view = {} }, { keepalive = false } = {}) {
  return request("/api/watchlists", { method: "POST", body: { name, symbols, view }, keepalive });
}

/** Which of `[{exchange, symbol}]` there are: `{results, missing}`; an exchange may be "". */
export async function findNames(names) {
  const { results, missing } = await request("/api/watchlists/named", { method: "POST", body: { names } });
  if (!Array.isArray(results) || !Array.isArray(missing)) throw new ApiError(200, "its answer could not be read");
  return { results, missing };
}

/** Change `name`, `symbols` or `view` of a list. */
export function changeList(id, change, { keepalive = false } = {}) {
  return request(`/api/watchlists/${id}`, { method: "PUT", body: change, keepalive });
}

export function deleteList(id) {
  return request(`/api/watchlists/${id}`, { method: "DELETE" });
}

/** Names and tick sizes of what is in a list, `[{exchange, symbol, name, tick_size}]`. */
export async function describeList(id) {
  const answer = await request(`/api/watchlists/${id}/instruments`);
  return Array.isArray(answer?.results) ? answer.results : [];
}
