/**
 * Composes the market watch: joins the connection, the rows, the table, the search, the remembered
 * lists and the pool strip. Decides nothing that one of them could decide.
 */

import { findNames } from "./api.js";
import { cut } from "./batch_text.js";
import { Beside } from "./beside.js";
import { Phase, TickConnection } from "./connection.js";
import { describe } from "./describe.js";
import { RowDrag } from "./drag.js";
import { FeedState, scopeOf, stateName } from "./feed.js";
import { count } from "./format.js";
import { Keyboard } from "./keyboard.js";
import { Ladder } from "./ladder.js";
import { ListBar } from "./list_bar.js";
import { Lists, defaultInstruments } from "./lists.js";
import { parseNames } from "./names.js";
import { Notices } from "./notices.js";
import { PoolStrip } from "./pool.js";
import { PreferredExchange } from "./preference.js";
import { Search } from "./search.js";
import { StatusLine } from "./status.js";
import { RowState, RowStore, keyOf } from "./store.js";
import { Subscriptions } from "./subscriptions.js";
import { Table } from "./table.js";
import { Trails, tabStorage } from "./trails.js";
import { ImportDialog, TransferDialog, download, reportOf } from "./transfer.js";
import { Undo } from "./undo.js";
import { ListView } from "./view.js";

const MAX_ROWS = 1000; // as many as the server remembers
const ROW_PX = 35; // of a row on a desk
const SORT_EVERY_S = 2; // a row that jumps about with each tick could not be read
const BATCH_INTERVAL_MS = 50; // every update of a feed of 20 a second arrives
const LINK_LOST = "The connection to the server is lost";
const NO_ANSWER = "The server does not answer";

const $ = (id) => document.getElementById(id);
/** The nodes with these names, whose ids begin with `prefix`. */
const nodesOf = (prefix, ...names) => Object.fromEntries(names.map((name) => [name, $(`${prefix}-${name}`)]));
const { userId, username, ticksPath } = document.body.dataset;
const scheme = location.protocol === "https:" ? "wss:" : "ws:";

let isLoaded = false;
let seconds = 0;
let sort = ""; // as the rows stand

const notices = new Notices($("notices"));
const feed = new FeedState();
const trails = new Trails({ storage: tabStorage(), userId });
const store = new RowStore({
  onDirty: () => {
    table.schedule();
    if (beside.isShown) beside.table.schedule();
  },
  trailOf: (key) => trails.of(key, connection.serverNow()),
});
const connection = new TickConnection({
  url: () => `${scheme}//${location.host}${ticksPath}?interval=${BATCH_INTERVAL_MS}`,
  takesText: batchReceived,
  onMessage: received,
  onPhase: phaseChanged,
});
const table = new Table({
  body: $("rows"),
  template: $("row-template"),
  store,
  rows: () => view.order(store.rows()),
  now: () => connection.serverNow(),
  ladder: new Ladder($("ladder-template"), { onTransfer: askTransfer }),
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
  limitsUrl: document.body.dataset.limits,
  onUnknown: drop,
  onSuggested: add,
});
const lists = new Lists({
  userId,
  onChange: () => {
    listBar.show(lists.lists, lists.current);
    showView();
    beside.update();
  },
  onElsewhere: () => load(),
  onSaveFailed: (error) =>
    notices.show({
      key: "save",
      kind: "warning",
      title: "Your list is kept in this browser only.",
      text: `It could not be saved: ${error.message}.`,
    }),
});
const listBar = new ListBar({
  nodes: {
    ...nodesOf("list", "tabs", "fold", "actions", "dialog", "title", "note", "label", "name", "error"),
    ...nodesOf("list", "confirm", "cancel"),
    create: $("new-list"),
    rename: $("rename-list"),
    remove: $("delete-list"),
    view: $("view-list"),
  },
  actions: {
    select,
    create: async (name, isAwaited) => {
      const id = await lists.create(name);
      if (isAwaited()) select(id);
    },
    created: () => search.focus(),
    rename: (name) => lists.rename(name),
    remove: removeList,
    failed: (title, { message: text }) => notices.show({ key: "list", kind: "error", title, text }),
  },
});
const pools = new PoolStrip({
  region: $("pools"),
  template: $("pool-template"),
  username,
  onSignedOut: () => connection.close(Phase.SIGNED_OUT),
  troubleOf: (pool) => feed.troubleOf(pool),
  onFigures: figuresCame,
  fold: { button: $("pools-fold"), text: $("pools-summary") },
});
const view = new ListView({
  nodes: {
    ...nodesOf("view", "dialog", "title", "sort", "way", "columns", "reset"),
    table: $("watch"),
    open: $("view-list"),
  },
  onChange: (changed) => lists.look(changed),
});
const beside = new Beside({
  nodes: {
    sheets: $("sheets"),
    table: $("watch-beside"),
    title: $("beside-title"),
    choice: $("beside"),
    rowTemplate: $("row-template"),
    ladderTemplate: $("ladder-template"),
  },
  userId,
  store,
  now: () => connection.serverNow(),
  actions: { find: () => lists, hold: holdBeside },
});
const undo = new Undo({ ...nodesOf("undo", "text", "run", "close"), toast: $("undo") });
new ImportDialog({
  nodes: {
    ...nodesOf("import", "dialog", "text", "file", "error", "confirm", "cancel"),
    open: $("import-list"),
  },
  onNames: addNames,
  onFailed: notAdded,
});
const transfer = new TransferDialog({
  nodes: nodesOf("transfer", "dialog", "title", "list", "error", "cancel"),
  actions: {
    copy: (row, list) => lists.extend(list, [row]),
    move: (row, list) => {
      lists.extend(list, [row]);
      letGo(row.key);
    },
  },
});
const search = new Search({
  input: $("search"),
  list: $("found"),
  hint: $("search-hint"),
  isListed: (key) => store.has(key),
  onChoose: add,
  onList: pasted,
  onError: signedOut,
});

const preferredExchange = new PreferredExchange({
  select: $("preferred-exchange"),
  onChanged: () => search.forget(),
  onError: ({ message: text }) =>
    notices.show({ key: "preferred", kind: "error", title: "Your choice was not kept.", text: `${text}.` }),
});
preferredExchange.load();

function batchReceived(text) {
  const now = connection.serverNow();
  return cut(text, (head, tick) => store.offer(head, tick, now, isTrusted));
}

function received(message) {
  if (message.type === "market_data") tick(message);
  else if (message.type === "ticks" && Array.isArray(message.ticks)) message.ticks.forEach(tick);
  else if (message.type === "feed") feedChanged(message);
  else if (message.type === "broker_info") pools.counted(message);
  else subscriptions.answered(message);
}

function tick(message) {
  store.apply(message, connection.serverNow(), isTrusted);
}

function isTrusted(row) {
  return feed.isTrusted(row);
}

function figuresCame(figures) {
  feed.poolsTold(figures);
  subscriptions.figuresCame(figures);
  status.update();
}

function feedChanged(message) {
  const isLive = feed.apply(message);
  if (!isLive) store.markStale(message.reason || `Feed ${stateName(message.status)}`, scopeOf(message));
  if (!message.symbols) {
    pools.feedChanged(message);
    countSoon();
  }
  status.update();
}

function phaseChanged(phase, before) {
  if (phase === Phase.SILENT) {
    store.doubt(NO_ANSWER);
  } else if (phase === Phase.OPEN) {
    store.believe();
    if (before !== Phase.SILENT) resume();
    countSoon();
  } else {
    store.markStale(LINK_LOST);
  }
  pools.linkChanged(troubleOfLink(phase));
  if (phase === Phase.SIGNED_OUT) pools.stop();
  // A handshake refused for want of a session looks like any failure: an HTTP answer tells.
  if (phase === Phase.WAITING) pools.start();
  status.update();
}

/** A new connection knows nothing of what was asked for before. */
function resume() {
  feed.reset();
  subscriptions.replay();
}

/** What is asked for has changed: the workers' count comes behind the answer to that. */
function countSoon() {
  connection.send({ action: "get_broker_info" });
  pools.soon();
}

/** What is the matter with the link; before the first connection nothing is. */
function troubleOfLink(phase) {
  if (phase === Phase.OPEN || !connection.everOpened) return "";
  return phase === Phase.SILENT ? NO_ANSWER : LINK_LOST;
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
  addRows([instrument], { isChosen: true });
  $("list-news").textContent = `${instrument.symbol} added`;
}

/** Put instruments behind the others, or before the row of `nextKey`. */
function addRows(instruments, { isChosen = false, nextKey = null } = {}) {
  const rows = instruments.map((instrument) => store.add(instrument));
  for (const row of rows) {
    if (nextKey !== null) store.place(row.key, nextKey);
    table.add(row);
  }
  if (nextKey !== null || view.sort) table.arrange();
  subscriptions.subscribe(rows, { isChosen });
  countSoon();
  lists.save(store.rows());
  describe(store, rows, lists.current?.id ?? null);
  showCount();
}

async function pasted(text) {
  try {
    await addNames(parseNames(text));
  } catch (error) {
    notAdded(error);
  }
}

function notAdded(error) {
  signedOut(error);
  notices.show({ key: "names", kind: "error", title: "Nothing was added.", text: `${error.message}.` });
}

/** Add what there is of these names to the current list, and say what became of each. */
async function addNames(names) {
  const list = lists.current;
  const { results, missing } = await findNames(names);
  const isHere = !list || lists.isCurrent(list);
  const listed = isHere ? results.filter((each) => store.has(keyOf(each.exchange, each.symbol))).length : 0;
  const fresh = isHere ? results.filter((each) => !store.has(keyOf(each.exchange, each.symbol))) : results;
  const room = MAX_ROWS - (isHere ? store.size : list.symbols.length);
  const added = fresh.slice(0, room);
  if (isHere) addRows(added);
  else lists.extend(list, added); // another list was chosen meanwhile
  const left = fresh.length - added.length;
  notices.show({
    key: "names",
    kind: missing.length || left ? "warning" : "info",
    isPassing: !missing.length && !left,
    text: reportOf({ added: added.length, listed, left, missing }),
  });
}

function signedOut(error) {
  if (error.isSignedOut) connection.close(Phase.SIGNED_OUT);
}

function remove(key) {
  const keys = store.rows().map((row) => row.key);
  const nextKey = keys[keys.indexOf(key) + 1] ?? null;
  const row = letGo(key);
  if (!row) return;
  const list = lists.current; // perhaps without an id, which comes with the first save's answer
  undo.offer({
    group: `rows of ${list?.name}`,
    text: row.symbol,
    run: () => takeBack(row, list, nextKey),
  });
  $("list-news").textContent = `${row.symbol} removed`;
}

function takeBack(row, list, nextKey) {
  try {
    if (list && !lists.isCurrent(list)) lists.extend(list, [row]);
    else if (store.size >= MAX_ROWS) throw new RangeError("The list is full");
    else if (!store.has(row.key)) addRows([instrumentOf(row)], { nextKey });
  } catch ({ message: text }) {
    notices.show({ key: "undo", kind: "error", title: `${row.symbol} is not back.`, text: `${text}.` });
  }
}

const instrumentOf = ({ exchange, symbol, name, tickSize }) => ({ exchange, symbol, name, tick_size: tickSize });

/** Take a row out of the list, and out of what is asked of the server. */
function letGo(key) {
  const row = drop(key);
  if (!row) return null;
  if (!store.get(key)) subscriptions.unsubscribe([row]); // else the list beside it has it, too
  countSoon();
  return row;
}

async function removeList() {
  const { id, name, symbols, view: look } = lists.current;
  showList(await lists.remove());
  undo.offer({
    group: `list ${id}`,
    text: `List \u201c${name}\u201d`,
    run: async () => {
      try {
        select(await lists.create(name, symbols, look));
      } catch ({ message: text }) {
        notices.show({ key: "list", kind: "error", title: `List \u201c${name}\u201d is not back.`, text: `${text}.` });
      }
    },
  });
}

/** Ask where the row of `key` is wanted, too. */
function askTransfer(key) {
  const others = lists.lists.filter((list) => list !== lists.current && list.id !== null);
  if (!transfer.ask(store.get(key), others)) {
    $("list-news").textContent = "There is no other list";
    notices.show({ key: "transfer", text: "There is no other list yet: make one first." });
  }
}

/** Take a row out of the list without telling the server, which does not have it. */
function drop(key) {
  const row = store.remove(key);
  table.remove(key);
  lists.save(store.rows());
  showCount();
  if (!store.size) search.focus();
  return row;
}

function showCount() {
  $("row-count").textContent = count(store.size, "instrument");
  $("loading").hidden = isLoaded;
  $("empty").hidden = !isLoaded || store.size > 0;
  $("watch").hidden = store.size === 0;
  fit();
}

/** A list that does not fit into the window may stand in two columns: see the style sheet. */
function fit() {
  const { top } = $("rows").getBoundingClientRect();
  const isLong = (store.size + 1) * ROW_PX > innerHeight - Math.max(0, top + scrollY);
  $("watch").toggleAttribute("data-long", isLong && !beside.isShown);
  $("rows").style.setProperty("--half", String(Math.ceil(store.size / 2)));
}

/** Follow how the current list is looked at; also another tab may have changed it. */
function showView() {
  view.show(lists.current ?? {});
  if (view.sort !== sort) table.arrange();
  sort = view.sort;
}

/** Show exactly these instruments; what was shown before and is not among them is let go. */
function show(instruments) {
  const gone = store.replace(instruments.slice(0, MAX_ROWS));
  if (gone.length) subscriptions.unsubscribe(gone);
  const rows = store.rows();
  table.showAll();
  isLoaded = true;
  showCount();
  ask(rows, lists.current?.id ?? null);
}

/** Ask the server for what does not come yet, and for the names. */
function ask(rows, listId) {
  const wanted = rows.filter((row) => row.state !== RowState.LIVE);
  if (wanted.length) subscriptions.subscribe(wanted);
  countSoon();
  describe(store, rows, listId);
}

/** Have the rows of the list beside the current one, too. */
function holdBeside(instruments, id) {
  const gone = store.replaceBeside(instruments.slice(0, MAX_ROWS));
  if (gone.length) subscriptions.unsubscribe(gone);
  if (id !== null) ask(store.besideRows(), id);
  fit();
}

function select(id) {
  const before = lists.current;
  const list = lists.select(id, () => beside.switched(before));
  showList(list);
}

function showList(list) {
  if (!list) return;
  show(list.symbols);
  $("list-news").textContent = `List ${list.name}, ${count(store.size, "instrument")}`;
}

/** Show the list beside the current one. */
function stepList(steps) {
  const at = lists.lists.indexOf(lists.current) + steps;
  const list = lists.lists[at];
  return list ? select(list.id) : false;
}

function moveRow(steps) {
  const key = table.focusedKey;
  if (view.sort) {
    $("list-news").textContent = "A sorted list has no order of its own: choose it under View";
    return;
  }
  if (!store.move(key, steps)) return;
  table.moved(key);
  lists.save(store.rows());
}

async function showDefaults() {
  const list = lists.current;
  try {
    const { results, reason } = await defaultInstruments();
    // Asked for here and not of a list that was shown, or filled, in the meantime.
    if (lists.current !== list || store.size) return;
    show(results);
    // Nothing to choose from is no choice: the next visit asks again.
    if (reason) {
      const actions = [{ label: "Look again", run: showDefaults }];
      notices.show({ key: "nothing", kind: "warning", text: reason, actions });
    } else lists.save(store.rows());
  } catch (error) {
    failed(error);
  }
}

async function load() {
  try {
    const list = await lists.load();
    if (!list) await showDefaults();
    else if (!isLoaded || !isShown(list.symbols)) show(list.symbols);
  } catch (error) {
    failed(error);
  }
}

/** Whether the rows are these instruments already, in this order. */
function isShown(symbols) {
  const keys = store.rows().map((row) => row.key);
  return (
    keys.length === symbols.length &&
    symbols.every(({ exchange, symbol }, at) => keyOf(exchange, symbol) === keys[at])
  );
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
$("export-list").addEventListener("click", () => download(lists.current?.name ?? "list", store.rows()));
window.addEventListener("resize", fit);
new RowDrag({
  body: $("rows"),
  onLift: () => {
    if (view.sort) return false;
    table.close();
    return true;
  },
  onDrop: (key, nextKey) => {
    store.place(key, nextKey);
    lists.save(store.rows());
    $("list-news").textContent = `${store.get(key).symbol} moved`;
  },
});
$("keys").addEventListener("click", () => $("keys-dialog").showModal());
$("keys-close").addEventListener("click", () => $("keys-dialog").close());
new Keyboard({
  isOnRow: () => table.focusedKey !== null,
  commands: {
    search: () => search.focus(),
    help: () => $("keys-dialog").showModal(),
    "new-list": () => listBar.askNew(),
    "previous-list": () => stepList(-1),
    "next-list": () => stepList(1),
    down: () => table.step(1),
    up: () => table.step(-1),
    first: () => table.step(-Infinity),
    last: () => table.step(Infinity),
    "move-down": () => moveRow(1),
    "move-up": () => moveRow(-1),
    remove: () => remove(table.focusedKey),
    undo: () => undo.run(),
    transfer: () => askTransfer(table.focusedKey),
    close: () => table.close(),
  },
});
window.addEventListener("pagehide", () => {
  store.readAll();
  trails.save(connection.serverNow());
  lists.flush({ keepalive: true });
});
setInterval(() => {
  store.readAll();
  table.second();
  seconds += 1;
  const isTurn = seconds % SORT_EVERY_S === 0;
  if (view.sort && isTurn) table.arrange();
  beside.second(isTurn);
  pools.second();
  status.second(store.ticks);
}, 1000);

showCount();
connection.heed();
connection.open();
pools.start();
load();
