/**
 * Owns finding names and tick sizes of rows that the remembered lists do not hold. They are a
 * courtesy: rows work without them, and what cannot be had now is asked for by the next page load.
 */

import { describeList, findExactly } from "./api.js";
import { keyOf } from "./store.js";

const MAX_LOOKUPS = 20; // of single names: what is in a stored list comes at once

const isMissing = (row) => !row.name && row.tickSize === undefined;

/** Fetch what is missing of `rows`, which the stored list `id` has, or null. */
export async function describe(store, rows, id) {
  try {
    if (id !== null && rows.filter(isMissing).length > 1) {
      for (const found of await describeList(id)) {
        store.describe(keyOf(found.exchange, found.symbol), found);
      }
    }
    for (const row of rows.filter(isMissing).slice(0, MAX_LOOKUPS)) {
      const found = await findExactly(row.exchange, row.symbol);
      if (found) store.describe(row.key, found);
    }
  } catch {
    // See above.
  }
}
