/**
 * Composes the status page: the connection, the figures it brings, and the seconds between them.
 */

import { Phase, TickConnection } from "../../streaming/js/connection.js";
import { quantity } from "../../streaming/js/format.js";
import { badge, setData, setHidden, setText } from "./dom.js";
import { Gateways, Way } from "./gateways.js";
import { Moments } from "./moments.js";
import { PoolCards } from "./pools.js";
import { countedStates, isCurrent } from "./truth.js";

const TURN_MS = 500;
const TYPING_MS = 300;

const $ = (id) => document.getElementById(id);
const { username, ticksPath, timeZone } = document.body.dataset;
const scheme = location.protocol === "https:" ? "wss:" : "ws:";

const { title } = document; // when all is well

let figures = null;
let receivedAt = -Infinity; // by performance.now(), which no clock change moves
let openedAt = -Infinity;
let refusal = "";
let wanted = { page: 1, search: "" };
let typing = 0;

const connection = new TickConnection({
  url: () => `${scheme}//${location.host}${ticksPath}`,
  onMessage: received,
  onPhase: phaseChanged,
});
const cards = new PoolCards({
  region: $("pools"),
  note: $("pools-note"),
  template: $("pool-template"),
  moments: new Moments(timeZone),
  username,
});
const gateways = new Gateways({ section: $("gateways-section"), body: $("gateway-rows") });
const way = new Way({ section: $("way"), list: $("stages") });

function received(message) {
  if (message.type === "pool_status") {
    figures = message;
    receivedAt = performance.now();
    refusal = "";
    show();
  } else if (message.status === "error") {
    refusal = message.message;
    show();
  }
}

function phaseChanged(phase) {
  if (phase === Phase.OPEN) {
    openedAt = performance.now();
    ask();
  }
  show();
}

function ask() {
  connection.send({ action: "subscribe_pool_status", ...wanted });
}

function turnTo(page) {
  wanted = { ...wanted, page };
  ask();
}

function show() {
  const isOpen = connection.phase === Phase.OPEN;
  const sinceFigures = performance.now() - receivedAt;
  const current = isCurrent(isOpen, sinceFigures);
  setData($("page"), "figures", figures ? (current ? "current" : "old") : "none");
  showLink(isOpen, current, sinceFigures);
  if (!figures) return;
  const when = { isOpen, sinceFigures, now: figures.now + sinceFigures };
  cards.show(figures, when);
  gateways.show(figures.gateways, when);
  way.show(figures.latency);
  showFind();
}

function showLink(isOpen, current, sinceFigures) {
  const [tone, word] = linkState(isOpen, current);
  badge($("link"), { tone, word });
  document.title = tone === "bad" ? `${word} \u00b7 ${title}` : title;
  const seconds = Math.floor(sinceFigures / 1000);
  setText($("figures-age"), !figures || current ? "" : `figures are ${quantity(seconds)} s old`);
  showStates(current, sinceFigures);
  const text = bannerText(isOpen, current, sinceFigures);
  setText($("banner-text"), text);
  setHidden($("banner"), !text);
  setHidden($("retry"), ![Phase.WAITING, Phase.REFUSED].includes(connection.phase));
  setHidden($("login-again"), connection.phase !== Phase.SIGNED_OUT);
}

function linkState(isOpen, current) {
  if (connection.phase === Phase.SIGNED_OUT) return ["bad", "Signed out"];
  if (connection.phase === Phase.REFUSED) return ["bad", "Refused"];
  if (connection.phase === Phase.SILENT) return ["bad", "No answer"];
  if (connection.phase === Phase.CONNECTING) {
    return connection.everOpened ? ["bad", "Reconnecting"] : ["off", "Connecting"];
  }
  if (!isOpen) return ["bad", "Disconnected"];
  if (!figures || current) return ["good", "Connected"];
  return ["bad", "Stale"];
}

function bannerText(isOpen, current, sinceFigures) {
  if (connection.phase === Phase.SIGNED_OUT) return "You are signed out; nothing below is current.";
  if (connection.phase === Phase.REFUSED) return `The server refused the connection (code ${connection.closeCode}).`;
  if (refusal) return refusal;
  if (!figures) {
    const isLate = isOpen && performance.now() - openedAt > 5000;
    if (isLate) return "The gateway sends no figures yet; its database may not answer.";
    return connection.phase === Phase.WAITING ? "The server cannot be reached yet; trying again." : "";
  }
  if (current || (isOpen && sinceFigures < 2000)) return "";
  const since = `${quantity(Math.floor(sinceFigures / 1000))} s`;
  if (isOpen) return `Connected, but no figures have come for ${since}. Nothing below is current.`;
  if (connection.phase === Phase.SILENT) return `The gateway does not answer. Nothing below is newer than ${since}.`;
  return `The connection to the gateway is lost. Nothing below is newer than ${since}.`;
}

function showStates(current, sinceFigures) {
  const region = $("states");
  const when = { isOpen: true, sinceFigures };
  const states = figures && current ? Object.entries(countedStates(figures, when)) : [];
  const text = states.map(([state, number]) => `${quantity(number)} ${state}`).join(", ");
  const total = states.reduce((sum, [, number]) => sum + number, 0);
  setText(region, text && `${total === 1 ? "1 pool" : `${quantity(total)} pools`}: ${text}`);
}

function showFind() {
  const { total, page, pages } = figures;
  setHidden($("find"), pages === 1 && total < 2 && !wanted.search);
  setText($("total"), total === 1 ? "1 pool" : `${quantity(total)} pools`);
  setText($("page-number"), `page ${page} of ${pages}`);
  setHidden(document.querySelector(".pager"), pages === 1);
  $("previous").disabled = page <= 1;
  $("next").disabled = page >= pages;
  const none = wanted.search
    ? "No pool matches."
    : "No pool here yet: add a broker account on the Brokers page.";
  setText($("pools-note"), none);
}

$("retry").addEventListener("click", () => connection.open());
$("previous").addEventListener("click", () => turnTo(figures.page - 1));
$("next").addEventListener("click", () => turnTo(figures.page + 1));
$("find").addEventListener("submit", (event) => event.preventDefault());
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    wanted = { page: 1, search: $("search").value.trim() };
    ask();
  }, TYPING_MS);
});
setInterval(show, TURN_MS);

show();
connection.heed();
connection.open();
