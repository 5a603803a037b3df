/**
 * Owns how values read: en-IN grouping, decimals of an instrument, signs, ages.
 * Pure: no DOM, no clock of its own.
 */

/** What stands where a value does not exist (an index has no bid). */
export const DASH = "\u2013";
const MINUS = "\u2212";
const MAX_DECIMALS = 8;
const formats = new Map();
const clocks = new Map();

function format(minimum, maximum) {
  const id = `${minimum}/${maximum}`;
  let found = formats.get(id);
  if (!found) {
    found = new Intl.NumberFormat("en-IN", {
      minimumFractionDigits: minimum,
      maximumFractionDigits: maximum,
    });
    formats.set(id, found);
  }
  return found;
}

/** Digits behind the point of a number as it would be written plainly: 0.0025 -> 4, 1e-8 -> 8. */
function ownDecimals(value) {
  const number = Number(value);
  if (!Number.isFinite(number)) return 0;
  const [mantissa, exponent = "0"] = String(Math.abs(number)).split("e");
  const fraction = (mantissa.split(".")[1] || "").length;
  return Math.min(MAX_DECIMALS, Math.max(0, fraction - Number(exponent)));
}

/** Decimals to show: those of the tick size, two at least, and never fewer than a price was sent with. */
export function decimalsFor(tickSize, ...prices) {
  const size = Number(tickSize) > 0 ? ownDecimals(tickSize) : 0;
  return Math.max(2, size, ...prices.filter(Number.isFinite).map(ownDecimals));
}

export function price(value, decimals = 2) {
  return Number.isFinite(value) ? format(decimals, decimals).format(value) : DASH;
}

/** With its sign always written, and a true minus sign. */
export function signed(value, decimals = 2) {
  if (!Number.isFinite(value)) return DASH;
  const text = format(decimals, decimals).format(Math.abs(value));
  if (!/[1-9]/.test(text)) return text;
  return (value > 0 ? "+" : MINUS) + text;
}

export function percent(value) {
  return Number.isFinite(value) ? `${signed(value, 2)}%` : DASH;
}

export function quantity(value) {
  return Number.isFinite(value) ? format(0, 4).format(value) : DASH;
}

/** An age for a narrow column: "now", "12s", "3m", "2h", "5d". */
export function age(milliseconds) {
  if (!Number.isFinite(milliseconds)) return DASH;
  const seconds = Math.floor(Math.max(0, milliseconds) / 1000);
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

/** A latency counted from stamps of whole seconds: up to a second too high, so "below 2 s". */
export function belowSeconds(milliseconds) {
  return `below ${quantity(Math.max(1, Math.ceil(milliseconds / 1000)))} s`;
}

/**
 * "14:10:21 IST": a moment in a zone, which it names; of another day than `now`'s with its date.
 * `timeZone` undefined is the browser's. Within a column or chart that names the zone: `isBare`.
 */
export function clock(milliseconds, timeZone, { now = milliseconds, isBare = false, withMilliseconds = false } = {}) {
  const { time, date, day } = clockOf(timeZone);
  const thousandths = withMilliseconds ? `.${String(Math.floor(milliseconds) % 1000).padStart(3, "0")}` : "";
  const at = `${time.format(milliseconds)}${thousandths}`;
  const before = day.format(milliseconds) === day.format(now) ? "" : `${date.format(milliseconds)} `;
  return before + (isBare ? at : `${at} ${zoneName(milliseconds, timeZone)}`);
}

/** The zone in which an exchange's own times are told; the same as `brokers/times/market_clock.py` says. */
export function exchangeZone(exchange) {
  return exchange === "BINANCE" ? "UTC" : "Asia/Kolkata";
}

/** How a zone is called at a moment: "IST", by its offset ("UTC+5:45") where it has no name. */
export function zoneName(milliseconds, timeZone) {
  let offset = "";
  for (const names of clockOf(timeZone).names) {
    const name = names.formatToParts(milliseconds).find(({ type }) => type === "timeZoneName").value;
    if (!/^(GMT|UTC)[+\u2212-]/.test(name)) return name;
    offset ||= name.replace("GMT", "UTC").replace(MINUS, "-");
  }
  return offset;
}

function clockOf(timeZone) {
  const id = timeZone ?? "";
  let found = clocks.get(id);
  if (!found) {
    const make = (wanted, locale = "en-GB") => new Intl.DateTimeFormat(locale, { hourCycle: "h23", timeZone, ...wanted });
    found = {
      time: make({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
      date: make({ day: "numeric", month: "short" }),
      day: make({ year: "numeric", month: "2-digit", day: "2-digit" }),
      // Each knows the short names of its own part of the world only.
      names: ["en-IN", "en-GB", "en-US", "en-AU"].map((locale) => make({ timeZoneName: "short" }, locale)),
    };
    clocks.set(id, found);
  }
  return found;
}

/** "1 connection", "3 connections". */
export function count(number, noun) {
  return `${quantity(number)} ${noun}${number === 1 ? "" : "s"}`;
}
