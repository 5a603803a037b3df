/**
 * Owns the text of a batch of ticks: cuts it into its ticks without reading them.
 *
 * A busy feed brings a row many more ticks than are ever shown. To parse each costs more than
 * everything else that the page does; where one begins and whose it is can be seen from its text,
 * as the gateway writes it (`streaming/wire/tick_json.py`). Pure.
 */

const BATCH = '{"type":"ticks","ticks":[';
const TICK = '{"type":"market_data",';
const NEXT = `,${TICK}`;
const MODE = ',"mode":';
const END = "}]}";

/** What stands behind the beginning of each tick of this instrument. */
export function headOf({ exchange, symbol }) {
  return `"symbol":${JSON.stringify(symbol)},"exchange":${JSON.stringify(exchange)}`;
}

/**
 * Call `take(head, tick)` for every tick of a batch, in their order; `tick` is its JSON. False, and
 * nothing is called, when the text is not laid out like that and has to be parsed.
 *
 * A quote inside of a JSON string is escaped, so no name or value can look like a beginning.
 */
export function cut(text, take) {
  if (!text.startsWith(BATCH) || !text.startsWith(TICK, BATCH.length) || !text.endsWith(END)) {
    return false;
  }
  const end = text.length - END.length + 1;
  for (let start = BATCH.length; start < end; ) {
    const next = text.indexOf(NEXT, start);
    const tick = text.slice(start, next < 0 ? end : next);
    const mode = tick.indexOf(MODE);
    take(mode < 0 ? "" : tick.slice(TICK.length, mode), tick);
    start = next < 0 ? end : next + 1;
  }
  return true;
}
