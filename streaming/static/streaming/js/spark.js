/**
 * Owns the trail of a price: what this page has seen of it in the last minutes, and its line. Pure.
 * A stretch without news is a gap in the line, not a slope that nobody saw.
 */

export const SAMPLE_MS = 2000;
export const MAX_SAMPLES = 90; // three minutes
const GAP_MS = 15_000;

/** Keep `price` at `now` (epoch ms) in `trail`, `[[ms, price], ...]`; true when a sample was added. */
export function remember(trail, now, price) {
  const last = trail.at(-1);
  if (last && now - last[0] < SAMPLE_MS) {
    last[1] = price;
    return false;
  }
  trail.push([now, price]);
  if (trail.length > MAX_SAMPLES) trail.shift();
  return true;
}

/** The line of a trail as an SVG path in a box of `width` x `height`; "" while there is no line. */
export function pathOf(trail, width, height) {
  if (trail.length < 2) return "";
  const prices = trail.map(([, price]) => price);
  const low = Math.min(...prices);
  const span = Math.max(...prices) - low;
  const start = trail[0][0];
  const duration = Math.max(trail.at(-1)[0] - start, SAMPLE_MS * 10);
  let path = "";
  let before = -Infinity;
  for (const [time, price] of trail) {
    const x = ((time - start) / duration) * width;
    const y = span > 0 ? height - ((price - low) / span) * height : height / 2;
    path += `${time - before > GAP_MS ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    before = time;
  }
  return path;
}
