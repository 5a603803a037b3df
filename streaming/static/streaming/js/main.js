/**
 * Composes the market watch: joins the connection, the rows, the table, the search, the remembered
 * list and the pool strip. Decides nothing that one of them could decide.
 */

import { findExactly } from "./api.js";
import { Phase, TickConnection } from "./connection.js";
import { FeedState, scopeOf } from "./feed.js";
import { Notices } from "./notices.js";
import { PoolStrip } from "./pool.js";
import { Search } from "./search.js";
import { StatusLine } from "./status.js";
import { RowStore, keyOf } from "./store.js";
import { Subscriptions } from "./subscriptions.js";
import { Table } from "./table.js";
import { Watchlist, defaultInstruments } from "./watchlist.js";

const MAX_ROWS = 1000; // as many as the server remembers
const LOOKUPS_AT_ONCE = 4;
const LINK_LOST = "The connection to the server is lost";

const $ = (id) => document.getElementById(id);
const { userId, username, ticksPath } = document.body.dataset;
const scheme = location.protocol === "https:" ? "wss:" : "ws:";

let isLoaded = false;

const notices = new Notices($("notices"));
const feed = new FeedState();
const store = new RowStore({ onDirty: () => table.schedule() });
const connection = new TickConnection({
  url: `${scheme}//${location.host}${ticksPath}`,
  onMessage: received,
  onPhase: phaseChanged,
});
const table = new Table({
  body: $("rows"),
  template: $("row-template"),
  store,
  now: () => connection.serverNow(),
  onRemove: remove,
});
const status = new StatusLine({
  nodes: {
    pill: $("pill"),
    pillText: $("pill-text"),
    rate: $("rate"),
    roundTrip: $("round-trip"),
    banner: $("banner"),
    bannerText: $("banner-text"),
    countdown: $("countdown"),
    retry: $("retry"),
    login: $("login-again"),
  },
  connection,
  feed,
  onRetry: () => connection.open(),
});
const subscriptions = new Subscriptions({
  connection,
  store,
  notices,
  onUnknown: drop,
  onSuggested: add,
});
const watchlist = new Watchlist({
  userId,
  onSaveFailed: (error) =>
    notices.show({
      key: "save",
      kind: "warning",
      title: "Your list is kept in this browser only.",
      text: `It could not be saved: ${error.message}.`,
    }),
});
const pools = new PoolStrip({
  region: $("pools"),
  template: $("pool-template"),
  username,
  onSignedOut: () => connection.close(Phase.SIGNED_OUT),
});
const search = new Search({
  input: $("search"),
  list: $("found"),
  hint: $("search-hint"),
  isListed: (key) => store.has(key),
  onChoose: add,
  onError: (error) => {
    if (error.isSignedOut) connection.close(Phase.SIGNED_OUT);
  },
});

function received(message) {
  if (message.type === "market_data") tick(message);
  else if (message.type === "ticks" && Array.isArray(message.ticks)) message.ticks.forEach(tick);
  else if (message.type === "feed") feedChanged(message);
  else subscriptions.answered(message);
}

function tick(message) {
  store.apply(message, connection.serverNow(), (row) => feed.isTrusted(row));
}

function feedChanged(message) {
  const isLive = feed.apply(message);
  if (!isLive) store.markStale(message.reason || `Feed ${message.status}`, scopeOf(message));
  status.update();
}

function phaseChanged(phase) {
  if (phase === Phase.OPEN) {
    feed.reset();
    subscriptions.replay();
    pools.soon();
  } else {
    store.markStale(LINK_LOST);
  }
  if (phase === Phase.SIGNED_OUT) pools.stop();
  // A handshake refused for want of a session looks like any failure: an HTTP answer tells.
  if (phase === Phase.WAITING) pools.start();
  status.update();
}

/** Add an instrument that the user chose. */
function add(instrument) {
  const key = keyOf(instrument.exchange, instrument.symbol);
  if (store.has(key)) {
    table.reveal(key);
    $("list-news").textContent = `${instrument.symbol} is already in your list`;
    return;
  }
  if (store.size >= MAX_ROWS) {
    notices.show({
      key: "full",
      kind: "warning",
      text: `A list holds ${MAX_ROWS} instruments at most. Remove one to add ${instrument.symbol}.`,
    });
    return;
  }
  const row = store.add(instrument);
  subscriptions.subscribe([row], { isChosen: true });
  pools.soon();
  watchlist.save(store.rows());
  describe([row]);
  showCount();
  $("list-news").textContent = `${instrument.symbol} added`;
}

function remove(key) {
  const row = drop(key);
  if (!row) return;
  subscriptions.unsubscribe(row);
  pools.soon();
  $("list-news").textContent = `${row.symbol} removed`;
}

/** Take a row out of the list without telling the server, which does not have it. */
function drop(key) {
  const row = store.remove(key);
  table.remove(key);
  watchlist.save(store.rows());
  showCount();
  if (!store.size) search.focus();
  return row;
}

/** Fetch names and tick sizes that the remembered list does not hold; rows work without them. */
async function describe(rows) {
  const missing = rows.filter((row) => !row.name && row.tickSize === undefined);
  const worker = async () => {
    for (let row = missing.shift(); row; row = missing.shift()) {
      const found = await findExactly(row.exchange, row.symbol);
      if (found) store.describe(row.key, found);
    }
  };
  try {
    await Promise.all(Array.from({ length: LOOKUPS_AT_ONCE }, worker));
  } catch {
    // Names are a courtesy: the next page load asks again.
  }
}

function showCount() {
  $("row-count").textContent = store.size === 1 ? "1 instrument" : `${store.size} instruments`;
  $("loading").hidden = isLoaded;
  $("empty").hidden = !isLoaded || store.size > 0;
  $("watch").hidden = store.size === 0;
}

function show(instruments) {
  const rows = instruments.slice(0, MAX_ROWS).map((instrument) => store.add(instrument));
  isLoaded = true;
  showCount();
  subscriptions.subscribe(rows);
  pools.soon();
  describe(rows);
}

async function showDefaults() {
  try {
    show(await defaultInstruments());
    watchlist.save(store.rows());
  } catch (error) {
    failed(error);
  }
}

async function load() {
  try {
    const { symbols, isChosen } = await watchlist.load();
    if (isChosen) show(symbols);
    else await showDefaults();
  } catch (error) {
    failed(error);
  }
}

function failed(error) {
  isLoaded = true;
  showCount();
  if (error.isSignedOut) {
    connection.close(Phase.SIGNED_OUT);
    return;
  }
  notices.show({
    key: "load",
    kind: "error",
    title: "Your list could not be loaded.",
    text: `${error.message}.`,
    actions: [{ label: "Try again", run: load }],
  });
}

$("add-defaults").addEventListener("click", showDefaults);
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
  }
});
window.addEventListener("online", () => {
  if (connection.phase === Phase.WAITING) connection.open();
});
window.addEventListener("pagehide", () => {
  watchlist.flush({ keepalive: true });
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) connection.open(); // restored from the back/forward cache: the socket is gone
});
setInterval(() => {
  table.renderAll();
  status.second(store.ticks);
}, 1000);

showCount();
connection.open();
pools.start();
load();
