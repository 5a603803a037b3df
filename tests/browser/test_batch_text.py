"""The page takes up a batch of ticks as text and reads of it only what somebody looks at."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Page

from brokers.types import FeedMode, InstrumentKey, Tick
from streaming.clients.batch_outbox import encode_batch
from streaming.wire.tick_json import encode_tick

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Names as exchanges have them, and some that no text may be cut at.
NAMES = ("INFY", "M&M", "NIFTY 50", 'A"B', "A\\B", "}],", "\u20b9X", ',"mode":', '{"type":"ticks"')


async def run(page: Page, body: str, argument: Any = None) -> Any:
    """Run ``body`` with the modules' exports as ``b`` and ``s``, and the argument as ``given``."""
    return await page.evaluate(
        "async (given) => { const b = await import('/static/streaming/js/batch_text.js');"
        f" const s = await import('/static/streaming/js/store.js'); {body} }}",
        argument,
    )


def batch(*symbols: str, price: int = 100_05) -> str:
    """Return the text in which the gateway sends a tick of each."""
    return encode_batch(
        encode_tick(
            "zerodha",
            InstrumentKey("NSE", symbol),
            Tick(
                broker_token=str(at),
                mode=FeedMode.DEPTH,
                price_scale=100,
                ltp=price + at,
                ts_event_ms=1_700_000_000_000 + price,
            ),
        )
        for at, symbol in enumerate(symbols)
    ).decode()


async def test_cuts_a_batch_of_the_gateway_into_its_ticks(module_page: Page):
    """Each part is one whole tick, in order, and the head is that of its row, whatever its name."""
    text = batch(*NAMES)
    parts = await run(
        module_page,
        "const parts = []; const done = b.cut(given, (head, tick) => parts.push([head, tick]));"
        "return done && parts;",
        text,
    )
    ticks = [json.loads(tick) for _, tick in parts]
    assert ticks == json.loads(text)["ticks"]
    heads = await run(
        module_page,
        "return given.map((symbol) => b.headOf({ exchange: 'NSE', symbol }));",
        list(NAMES),
    )
    plain = [at for at, name in enumerate(NAMES) if name.isascii()]
    assert [parts[at][0] for at in plain] == [heads[at] for at in plain]


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "ticks", "ticks": []}',
        '{"type":"ticks","ticks":[]}',
        '{"type":"ticks","ticks":[{"symbol":"X","type":"market_data"}]}',
        '{"type":"ticks","ticks":[{"type":"market_data","symbol":"X"}],"more":1}',
        '{"type":"market_data","symbol":"X","exchange":"NSE","mode":3,"data":{}}',
        '{"type":"pong"}',
        "",
        "[]",
    ],
)
async def test_leaves_other_text_to_the_parser(module_page: Page, text: str):
    """What is laid out differently is not cut at all."""
    assert await run(
        module_page,
        "let calls = 0; const done = b.cut(given, () => { calls += 1; }); return [done, calls];",
        text,
    ) == [False, 0]


_STORE = """
  const store = new s.RowStore();
  for (const symbol of given.symbols) store.add({ exchange: "NSE", symbol });
  const rows = store.rows();
  const take = (text, now) => b.cut(text, (head, tick) => store.offer(head, tick, now, () => true));
"""


async def test_reads_the_newest_tick_of_a_live_row_and_no_other(module_page: Page):
    """However many arrive between two looks, each row is parsed once, and none goes uncounted."""
    symbols = ["INFY", "TCS", "\u20b9X"]
    texts = [batch(*symbols, price=100_00 + 10 * n) for n in range(21)]
    parsed, seen = await run(
        module_page,
        _STORE
        + """
  take(given.texts[0], 1000); // the first tells of what is live
  const parse = JSON.parse;
  let parsed = 0;
  JSON.parse = (text) => { parsed += 1; return parse(text); };
  try {
    given.texts.slice(1).forEach((text, at) => take(text, 2000 + at));
    rows.slice(0, 2).forEach((row) => store.read(row));
    rows.slice(0, 2).forEach((row) => store.read(row));
  } finally {
    JSON.parse = parse;
  }
  return [parsed, { ticks: store.ticks, last: rows.map((row) => row.last),
                    heard: rows[0].heardAt, state: rows[0].state, moves: rows[0].moves }];
""",
        {"symbols": symbols, "texts": texts},
    )
    # One name is written with an escape, and is not known by its text: 20 of its ticks are read.
    assert parsed == 2 + 20
    assert seen == {
        "ticks": 63,
        "last": [102.0, 102.01, 102.02],
        "heard": 2019,
        "state": "live",
        "moves": 1,
    }


async def test_a_tick_from_before_a_feed_was_lost_does_not_make_it_live(module_page: Page):
    """What waits unread is taken up first: the price is the last one, and stale."""
    texts = [batch("INFY"), batch("INFY", price=200_00)]
    assert await run(
        module_page,
        _STORE
        + """
  given.texts.forEach((text) => take(text, 1000));
  store.markStale("lost");
  store.readAll();
  return [rows[0].last, rows[0].state, rows[0].reason];
""",
        {"symbols": ["INFY"], "texts": texts},
    ) == [200, "stale", "lost"]


async def test_a_stored_price_after_a_reconnect_is_judged_as_one(module_page: Page):
    """What waited from before counts as before; the next tick is the one that may be old."""
    texts = [batch("INFY"), batch("INFY", price=200_00), batch("INFY", price=300_00)]
    assert await run(
        module_page,
        _STORE
        + """
  const now = 1_700_000_100_000;
  take(given.texts[0], now);
  take(given.texts[1], now);
  store.expectSnapshots();
  take(given.texts[2], now + 5000);
  return [rows[0].last, rows[0].heardAt];
""",
        {"symbols": ["INFY"], "texts": texts},
    ) == [300, 1_700_000_000_000 + 300_00]


async def test_a_row_that_left_and_came_back_starts_anew(module_page: Page):
    """Text of a row that is gone is nobody's; of one that came back it is the new row's."""
    texts = [batch("INFY", "TCS"), batch("INFY", "TCS", price=200_00)]
    assert await run(
        module_page,
        _STORE
        + """
  take(given.texts[0], 1000);
  store.remove("NSE:INFY");
  take(given.texts[1], 2000);
  const gone = store.ticks;
  const again = store.add({ exchange: "NSE", symbol: "INFY" });
  store.replace([{ exchange: "NSE", symbol: "INFY" }]);
  take(given.texts[1], 3000);
  store.readAll();
  return [gone, again.last, rows[1].last, store.ticks];
""",
        {"symbols": ["INFY", "TCS"], "texts": texts},
    ) == [3, 200, 100.06, 4]
