/**
 * Owns how values read: en-IN grouping, decimals of an instrument, signs, ages.
 * Pure: no DOM, no clock of its own.
 */

/** What stands where a value does not exist (an index has no bid). */
export const DASH = "\u2013";
const MINUS = "\u2212";
const MAX_DECIMALS = 8;
const formats = new Map();

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

export function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-IN", { hour12: false });
}

/** "1 connection", "3 connections". */
export function count(number, noun) {
  return `${quantity(number)} ${noun}${number === 1 ? "" : "s"}`;
}
