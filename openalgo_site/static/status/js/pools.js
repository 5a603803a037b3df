/**
 * Owns the cards of the pools: one per pool, written again with each figures and each passing second.
 */

import { DASH, age, count, quantity } from "../../streaming/js/format.js";
import { badge, copyOf, fillRows, setData, setHidden, setText, setTitle } from "./dom.js";
import { believed, credential, grown, revision, shownState } from "./truth.js";

const NEARLY_FULL = 0.9;
const PEAKS = [
  ["symbols", "Symbols"],
  ["connections", "Connections"],
  ["clients", "Clients"],
  ["ticks_per_second", "Ticks/s"],
];
const PEAK_COLUMNS = [
  { isHeader: true, className: "text" },
  { label: "Today" },
  { label: "at" },
  { label: "All time" },
  { label: "at" },
];
const CONNECTION_COLUMNS = [
  { isHeader: true, label: "Slot" },
  { label: "State", className: "text" },
  { label: "Since" },
  { label: "Symbols" },
  { label: "Messages" },
  { label: "Reconnects" },
  { label: "Last close", className: "text" },
  { label: "Next try" },
];

export class PoolCards {
  #region;
  #note;
  #template;
  #moments;
  #username;
  #cards = new Map();

  constructor({ region, note, template, moments, username }) {
    this.#region = region;
    this.#note = note;
    this.#template = template;
    this.#moments = moments;
    this.#username = username;
  }

  /** Show figures `when.sinceFigures` after they came; `when.now` is the server's clock. */
  show(figures, when) {
    const gone = new Set(this.#cards.keys());
    let before = this.#note;
    for (const pool of figures.pools) {
      gone.delete(pool.id);
      const card = this.#cardOf(pool.id);
      if (before.nextElementSibling !== card.element) before.after(card.element);
      before = card.element;
      this.#write(card, pool, when);
    }
    for (const id of gone) {
      this.#cards.get(id).element.remove();
      this.#cards.delete(id);
    }
    setHidden(this.#note, figures.pools.length > 0);
  }

  #cardOf(id) {
    let card = this.#cards.get(id);
    if (!card) {
      card = copyOf(this.#template);
      card.element.dataset.pool = String(id);
      card.nodes.history.href = `${id}/`;
      card.nodes.login.href = `/brokers/#account-${id}`;
      this.#cards.set(id, card);
    }
    return card;
  }

  #write({ element, nodes }, sent, when) {
    const state = shownState(sent, when);
    const pool = believed(sent, when);
    const ago = (ms) => this.#ago(grown(ms, when.sinceFigures));
    const known = (value, text) => (pool.is_served ? text(value) : DASH);
    setData(element, "tone", state.tone);
    setText(nodes.title, `${pool.broker.charAt(0).toUpperCase()}${pool.broker.slice(1)}`);
    const owner = pool.user === this.#username ? "" : pool.user;
    setText(nodes.account, [owner, pool.label].filter(Boolean).join(" \u00b7 "));
    badge(nodes.state, state);
    const isAsSent = pool.is_served && state.word === pool.state;
    setText(nodes.since, isAsSent ? `for ${age(grown(pool.since_age_ms, when.sinceFigures))}` : "");
    setText(nodes.reason, state.reason);
    setHidden(nodes.loginRow, owner !== "" || state.word !== "login needed");
    this.#bar(nodes, "symbols", pool, pool.used, pool.capacity);
    this.#bar(nodes, "connections", pool, pool.connections_used, pool.max_connections);
    const trying = pool.connections_trying;
    if (pool.is_served && trying) setText(nodes.connectionsText, `${quantity(pool.connections_used)} connected, ${quantity(trying)} trying`);
    setText(nodes.rate, known(pool.ticks_per_second, (rate) => quantity(Math.round(rate))));
    setText(nodes.lastTick, ago(pool.last_tick_age_ms));
    setText(nodes.lastFrame, ago(pool.last_frame_age_ms));
    setText(nodes.waiting, known(pool.waiting, (n) => (n ? count(n, "symbol") : "none")));
    setData(nodes.waiting, "tone", pool.is_served && pool.waiting ? "warn" : "");
    setText(nodes.clients, known(pool.clients, quantity));
    setText(nodes.reconnects, known(pool.reconnects_today ?? 0, quantity));
    const readable = { age: (ms) => age(ms), moment: (at) => this.#moments.short(at, when.now) };
    this.#toned(nodes.credential, credential(pool, when.now, readable));
    this.#toned(nodes.revision, revision(pool));
    setText(nodes.owner, this.#owner(pool, when));
    setHidden(nodes.circuitRow, !pool.is_served || ["", "closed"].includes(pool.circuit));
    setText(nodes.circuit, `out of reach: circuit ${pool.circuit.replace("_", " ")}`);
    this.#peaks(nodes, pool, when);
    this.#connections(nodes, pool, when);
    setHidden(nodes.leftOut, !pool.connections_left_out);
    setText(nodes.leftOut, `${quantity(pool.connections_left_out)} more connections are not shown.`);
  }

  #bar(nodes, name, pool, used, max) {
    const share = max > 0 ? Math.min(1, used / max) : 0;
    const percent = max > 0 ? ` (${Math.floor(share * 100)} %)` : "";
    const text = pool.is_served ? `${quantity(used)} of ${quantity(max)}${percent}` : DASH;
    const meter = nodes[`${name}Meter`];
    setText(nodes[`${name}Text`], text);
    const tone = share >= 1 ? "bad" : share >= NEARLY_FULL ? "warn" : "good";
    setData(meter, "tone", pool.is_served && used ? tone : "off");
    meter.setAttribute("aria-label", `${name} of ${pool.broker} ${pool.label}`);
    meter.setAttribute("aria-valuemax", String(max));
    meter.setAttribute("aria-valuenow", String(used));
    meter.setAttribute("aria-valuetext", text);
    nodes[`${name}Fill`].style.width = `${(share * 100).toFixed(2)}%`;
  }

  #owner(pool, { sinceFigures }) {
    if (pool.owner) return `${pool.owner}, heard ${this.#ago(grown(pool.heartbeat_age_ms, sinceFigures))}`;
    if (pool.heartbeat_age_ms === null) return "none has served this pool yet";
    return `none; the last one was heard ${this.#ago(grown(pool.heartbeat_age_ms, sinceFigures))}`;
  }

  #peaks(nodes, pool, { now }) {
    fillRows(nodes.peakRows, PEAKS, PEAK_COLUMNS, (cells, [measure, name]) => {
      setText(cells[0], name);
      this.#peak(cells[1], cells[2], pool.today?.[measure], now);
      this.#peak(cells[3], cells[4], pool.all_time?.[measure], now);
    });
  }

  #peak(value, when, peak, now) {
    setText(value, peak ? quantity(Math.round(peak.value)) : DASH);
    // Nothing was measured yet: the time is only that of the start.
    const at = peak && peak.value > 0 ? peak.at_ms : NaN;
    setText(when, this.#moments.short(at, now));
    setTitle(when, this.#moments.full(at));
  }

  #connections(nodes, pool, { sinceFigures }) {
    setHidden(nodes.connections, pool.connections.length === 0);
    fillRows(nodes.connectionRows, pool.connections, CONNECTION_COLUMNS, (cells, each, row) => {
      setData(row, "tone", each.tone);
      setText(cells[0], String(each.slot));
      this.#state(cells[1], each);
      setText(cells[2], age(grown(each.since_age_ms, sinceFigures)));
      setText(cells[3], each.used === each.symbols ? quantity(each.symbols) : `${quantity(each.symbols)} (${quantity(each.used)} used)`);
      setText(cells[4], `${quantity(each.messages_received)} in, ${quantity(each.messages_sent)} out`);
      setText(cells[5], quantity(each.reconnects_today));
      setText(cells[6], lastClose(each, sinceFigures));
      const left = each.next_retry_in_ms === null ? NaN : each.next_retry_in_ms - sinceFigures;
      setText(cells[7], Number.isNaN(left) ? DASH : left > 0 ? `in ${Math.ceil(left / 1000)} s` : "now");
    });
  }

  #state(cell, each) {
    let node = cell.firstElementChild;
    if (!node) {
      node = document.createElement("span");
      node.className = "badge";
      cell.append(node);
    }
    badge(node, { tone: each.tone, word: each.state });
  }

  #toned(node, { tone, text }) {
    setData(node, "tone", tone === "good" ? "" : tone);
    setText(node, text);
  }

  #ago(ms) {
    const text = age(ms);
    return text === DASH || text === "now" ? text : `${text} ago`;
  }
}

function lastClose(each, sinceFigures) {
  if (!each.last_close) return DASH;
  const code = each.last_close_code === null ? "" : `${each.last_close_code} `;
  const when = age(grown(each.last_close_age_ms, sinceFigures));
  return `${code}${each.last_close}${when === DASH ? "" : when === "now" ? ", now" : `, ${when} ago`}`;
}
