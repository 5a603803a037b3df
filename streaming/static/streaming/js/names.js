/**
 * Reads lists of instruments as people have them (pasted, or a CSV file) and writes them as CSV. Pure.
 */

const EXCHANGES = new Set([
  "NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX", "NCO", "NCDEX", "NSEIX", "NSE_INDEX", "BSE_INDEX",
  "MCX_INDEX", "CDS_INDEX", "GLOBAL", "GLOBAL_INDEX", "BINANCE", "CRYPTO",
]);
const MOST = 1000; // as many as a list holds
const LONGEST = 64;
const SYMBOL_TITLES = new Set(["symbol", "tradingsymbol", "trading symbol"]);
const EXCHANGE_TITLES = new Set(["exchange", "exch"]);
const EXACT = /^([A-Z][A-Z_]{1,15}):(\S+)$/;

const unquoted = (field) => field.trim().replace(/^["']+|["']+$/g, "").trim();
const fieldsOf = (line) => line.split(/[,;\t]/).map(unquoted);

function nameOf(text) {
  const found = EXACT.exec(text);
  return found ? { exchange: found[1], symbol: found[2] } : { exchange: "", symbol: text };
}

/** A table with titles: which columns are symbol and exchange; null when the line is none of titles. */
function titlesOf(line) {
  const titles = fieldsOf(line).map((title) => title.toLowerCase());
  const symbol = titles.findIndex((title) => SYMBOL_TITLES.has(title));
  const exchange = titles.findIndex((title) => EXCHANGE_TITLES.has(title));
  return symbol < 0 ? null : { symbol, exchange };
}

function rowOf(line, titles) {
  const fields = fieldsOf(line.toUpperCase());
  const name = nameOf(fields[titles.symbol] ?? "");
  return name.exchange ? name : { exchange: fields[titles.exchange] ?? "", symbol: name.symbol };
}

/** `NSE,INFY,Infosys Limited`: what stands behind a pair is no name, unless it is another pair. */
function pairsOf(fields) {
  const pairs = [];
  for (let at = 0; EXCHANGES.has(fields[at]) && fields[at + 1]; at += 2) {
    pairs.push({ exchange: fields[at], symbol: fields[at + 1] });
  }
  return pairs;
}

function lineOf(line) {
  const text = line.toUpperCase().replace(/:\s+/g, ":");
  const pairs = pairsOf(fieldsOf(text));
  if (pairs.length) return pairs;
  const words = text.split(/[,;\s]+/).map(unquoted).filter(Boolean);
  const spaced = pairsOf(words);
  return spaced.length * 2 === words.length ? spaced : words.map(nameOf);
}

/**
 * The names in `text`, `[{exchange, symbol}]` in their order, each once; `exchange` is "" where none
 * was given. Separators are commas, semicolons, tabs, lines and spaces; a first line of titles with
 * "symbol" among them makes it a table.
 */
export function parseNames(text) {
  const lines = text.replace(/^\ufeff/, "").split(/\r\n?|\n/).filter((line) => line.trim());
  const titles = lines.length > 1 ? titlesOf(lines[0]) : null;
  const names = titles ? lines.slice(1).map((line) => rowOf(line, titles)) : lines.flatMap(lineOf);
  const known = new Map();
  for (const name of names) {
    if (!name.symbol || name.symbol.length > LONGEST || name.exchange.length > LONGEST) continue;
    known.set(`${name.exchange}:${name.symbol}`, name);
  }
  return [...known.values()].slice(0, MOST);
}

/** Whether a text put into the search is a list of names: not words of one ("NIFTY 24500 CE"). */
export function isList(text) {
  const hasSeparators = /[,;\t\r\n]/.test(text.trim()) || (text.match(/[A-Za-z_]:\S/g) ?? []).length > 1;
  return hasSeparators && parseNames(text).length > 1;
}

/** A field as every spreadsheet reads it: as text, never as a formula; the same as the server's files. */
function field(text) {
  const safe = /^ *[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
  return /[",;\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The instruments as a CSV file with titles. */
export function csvOf(rows) {
  const lines = rows.map(({ exchange, symbol, name = "" }) => [exchange, symbol, name].map(field).join(","));
  return ["exchange,symbol,name", ...lines, ""].join("\r\n");
}

export const labelOf = ({ exchange, symbol }) => (exchange ? `${exchange}:${symbol}` : symbol);
