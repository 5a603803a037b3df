/**
 * Owns the code that a program needs to hear what the console hears. Pure: choices in, text out.
 * Names go in as JSON strings, which are strings of Python and of JavaScript as well.
 */

const BATCHES = "tickpool.batch.v1";
const EXAMPLE = Object.freeze([{ exchange: "NSE", symbol: "RELIANCE", mode: 2 }]);

const listOf = (subscriptions, indent) =>
  `[\n${shown(subscriptions).map((each) => `${indent}${literal(each)},\n`).join("")}]`;

/** Code that asks for nothing hears nothing: without a choice it has an example, and says so. */
const shown = (subscriptions) => (subscriptions.length ? subscriptions : EXAMPLE);
const remark = (subscriptions, mark) =>
  subscriptions.length ? "" : `${mark} An example: what is subscribed above stands here.\n`;

/** One subscription on one line; beyond ASCII is escaped, since files have encodings. */
function literal({ exchange, symbol, mode }) {
  const text = (value) =>
    JSON.stringify(value).replace(
      /[^\x20-\x7e]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  return `{"exchange": ${text(exchange)}, "symbol": ${text(symbol)}, "mode": ${mode}}`;
}

const addressOf = ({ url, interval }) => JSON.stringify(interval ? `${url}?interval=${interval}` : url);

/** Python for `url` and `subscriptions`, `[{exchange, symbol, mode}]`; `interval` ms asks for batches. */
export function pythonCode({ url, subscriptions, interval = 0 }) {
  const batches = interval ? `, subprotocols=["${BATCHES}"]` : "";
  return `# python -m pip install websockets
import json
import os
import sys

from websockets.sync.client import connect

ADDRESS = ${addressOf({ url, interval })}
${remark(subscriptions, "#")}SYMBOLS = ${listOf(subscriptions, "    ")}
KEY = os.environ.get("TICKPOOL_API_KEY") or sys.exit(
    "Set TICKPOOL_API_KEY to an API key first."
)

with connect(ADDRESS, max_size=None${batches}) as socket:
    socket.send(json.dumps({"action": "authenticate", "api_key": KEY}))
    socket.send(json.dumps({"action": "subscribe", "symbols": SYMBOLS}))
    for frame in socket:
        print(frame, flush=True)
`;
}

/** JavaScript for browsers and for Node from version 22; parameters as of `pythonCode`. */
export function javascriptCode({ url, subscriptions, interval = 0 }) {
  const batches = interval ? `, ["${BATCHES}"]` : "";
  return `// In a browser, or in Node 22 and newer
const address = ${addressOf({ url, interval })};
${remark(subscriptions, "//")}const symbols = ${listOf(subscriptions, "  ")};
const apiKey = globalThis.process?.env.TICKPOOL_API_KEY ?? prompt("API key");

const socket = new WebSocket(address${batches});
socket.onopen = () => {
  socket.send(JSON.stringify({ action: "authenticate", api_key: apiKey }));
  socket.send(JSON.stringify({ action: "subscribe", symbols }));
};
socket.onmessage = ({ data }) => console.log(data);
socket.onclose = ({ code, reason }) => console.log("closed", code, reason);
`;
}
