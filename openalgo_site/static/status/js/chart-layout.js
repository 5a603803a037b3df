/**
 * Decides where things stand in a chart: scales, marks of the axes, lines with their gaps.
 * Pure: numbers in, numbers and path texts out. Times are epoch milliseconds.
 */

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const TIME_STEPS = [
  HOUR / 12, HOUR / 6, HOUR / 4, HOUR / 2, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 3 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 91 * DAY, 365 * DAY,
];

/** A round number at or above `value`, and whole steps up to it: `{top, marks}`. */
export function valueAxis(value, most = 4) {
  const least = Math.max(1, value) / most;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = Math.max(1, [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= least && Number.isInteger(n)) ?? 10 * power);
  const top = Math.ceil(Math.max(1, value) / step) * step;
  return { top, marks: Array.from({ length: Math.round(top / step) + 1 }, (_, n) => n * step) };
}

/** Marks of the time axis on round local times; `offsetMs` is the zone's, east of UTC. */
export function timeMarks(from, to, most, offsetMs) {
  const step = TIME_STEPS.find((each) => (to - from) / each <= most) ?? TIME_STEPS.at(-1);
  const marks = [];
  for (let at = Math.ceil((from + offsetMs) / step) * step - offsetMs; at < to; at += step) marks.push(at);
  return { step, marks };
}

/** What of a day's local time a zone adds to UTC at a moment, from what Intl writes there. */
export function offsetOf(timeZone, at) {
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
    hour: "numeric", minute: "numeric", second: "numeric",
  }).formatToParts(at);
  const part = Object.fromEntries(parts.map(({ type, value }) => [type, Number(value)]));
  const local = Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second);
  return local - Math.floor(at / 1000) * 1000;
}

/**
 * Runs of points without a gap between them: a line is drawn through what is known and nothing
 * else. `points` are `[t, value]`; each stands for `stepMs`.
 */
export function runs(points, stepMs) {
  const found = [];
  let last = -Infinity;
  for (const point of points) {
    // Days differ by an hour where clocks are put forward.
    if (point[0] - last > stepMs * 1.1) found.push([]);
    found.at(-1).push(point);
    last = point[0];
  }
  return found;
}

/** The path of a run as steps: each value holds from its beginning for `stepMs`. */
export function stepPath(run, stepMs, x, y) {
  const parts = [];
  run.forEach(([at, value], index) => {
    const end = index + 1 < run.length ? run[index + 1][0] : at + stepMs;
    parts.push(`${index ? "V" : `M${x(at).toFixed(1)} `}${y(value).toFixed(1)}H${x(end).toFixed(1)}`);
  });
  return parts.join("");
}

/** The area below a run. */
export function areaPath(run, stepMs, x, y, bottom) {
  const begin = x(run[0][0]).toFixed(1);
  return `${stepPath(run, stepMs, x, y)}V${bottom}H${begin}Z`;
}

/** The point that stands for a moment, by binary search; -1 where nothing is known. */
export function pointAt(points, at, stepMs) {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= at) low = middle + 1;
    else high = middle;
  }
  return low > 0 && at - points[low - 1][0] <= stepMs * 1.1 ? low - 1 : -1;
}
