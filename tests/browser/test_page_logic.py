"""The page's pure decisions, called in the browser that runs them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Page

from brokers.pool_service import FeedStatus
from brokers.times.market_clock import _CLOSES, _OTHER
from pooling.operations.pool_state import PoolState

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def run(page: Page, module: str, expression: str) -> Any:
    """Evaluate ``expression`` with the module's exports as ``m``."""
    return await page.evaluate(
        f"async () => {{ const m = await import('/static/streaming/js/{module}.js');"
        f" return ({expression}); }}"
    )


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        ('{expiry: "2026-11-24", strike: 24100, instrument_type: "CE"}', "24 Nov 2026 24,100 CE"),
        ('{expiry: "2026-12-01", strike: 292.5, instrument_type: "PE"}', "1 Dec 2026 292.5 PE"),
        ('{expiry: "2026-12-29", strike: null, instrument_type: "FUT"}', "29 Dec 2026 FUT"),
        ('{expiry: null, strike: null, instrument_type: "EQ"}', ""),
        ("{}", ""),
    ],
)
async def test_terms_of_a_contract_stand_apart(module_page: Page, item: str, shown: str) -> None:
    assert await run(module_page, "search", f"m.termsOf({item})") == shown


async def test_a_full_pool_leads_who_may_to_its_limits(module_page: Page) -> None:
    cases = "[['MAX_CAPACITY_REACHED', '/admin/'], ['MAX_CAPACITY_REACHED'], ['GONE', '/admin/']]"
    labels = f"{cases}.map((each) => m.roomActions(...each).map(({{label}}) => label))"
    assert await run(module_page, "subscriptions", labels) == [["Raise the limits"], [], []]


async def test_a_suggestion_of_another_exchange_names_it(module_page: Page) -> None:
    refusal = '{exchange: "NSE", suggestions: ["NSE_INDEX:NIFTY", "INFY", "BSESENSEXSIXTY65:35"]}'
    assert await run(module_page, "subscriptions", f"m.suggestionsOf({refusal})") == [
        {"exchange": "NSE_INDEX", "symbol": "NIFTY"},
        {"exchange": "NSE", "symbol": "INFY"},
        {"exchange": "NSE", "symbol": "BSESENSEXSIXTY65:35"},
    ]


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("m.price(1234567.5, 2)", "12,34,567.50"),
        ("m.price(undefined)", "\u2013"),
        ("m.price(NaN)", "\u2013"),
        ("m.price(0.00001234, m.decimalsFor('0.00000001'))", "0.00001234"),
        ("m.signed(12.345, 2)", "+12.35"),
        ("m.signed(-0.5, 2)", "\u22120.50"),
        ("m.signed(-0.001, 2)", "0.00"),
        ("m.percent(0)", "0.00%"),
        ("m.quantity(0)", "0"),
        ("m.quantity(12345678)", "1,23,45,678"),
        ("m.quantity(0.12345)", "0.1235"),
        ("[0, 1999, 2000, 59999, 60000, 7200000, 172800000].map(m.age).join(' ')",
         "now now 2s 59s 1m 2h 2d"),
        ("m.age(-5000)", "now"),
        ("m.age(NaN)", "\u2013"),
    ],
)  # fmt: skip
async def test_values_read_as_a_trader_writes_them(module_page: Page, expression: str, shown: str):
    """Indian grouping, true minus signs, and a dash for what does not exist."""
    assert await run(module_page, "format", expression) == shown


@pytest.mark.parametrize(
    ("tick_size", "prices", "decimals"),
    [("0.05", "", 2), ("0.0025", "", 4), ("5", "", 2), ("1e-8", "", 8), ("0", "84.2375", 4),
     ("undefined", "1573.7, undefined", 2), ("'0.01'", "0.123", 3)],
)  # fmt: skip
async def test_decimals_follow_the_tick_size(
    module_page: Page, tick_size: str, prices: str, decimals: int
):
    """The tick size decides, but a price never loses a digit that it was sent with."""
    assert await run(module_page, "format", f"m.decimalsFor({tick_size}, {prices})") == decimals


NOON = 1_764_492_021_000  # 30 November 2025, 14:10:21 in Kolkata


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        (f"m.clock({NOON}, 'Asia/Kolkata')", "14:10:21 IST"),
        (f"m.clock({NOON}, 'UTC')", "08:40:21 UTC"),
        (f"m.clock({NOON}, 'America/New_York')", "03:40:21 EST"),
        (f"m.clock({NOON}, 'Asia/Kathmandu')", "14:25:21 UTC+5:45"),
        (f"m.clock({NOON}, 'Asia/Kolkata', {{now: {NOON} + 36000000}})", "30 Nov 14:10:21 IST"),
        (f"m.clock({NOON}, 'America/New_York', {{now: {NOON} + 36000000}})", "03:40:21 EST"),
        (f"m.clock({NOON} + 7, 'UTC', {{isBare: true, withMilliseconds: true}})", "08:40:21.007"),
    ],
)  # fmt: skip
async def test_a_clock_names_its_zone(module_page: Page, expression: str, shown: str):
    """By its offset where it has no name; with the date once it is not of today."""
    assert await run(module_page, "format", expression) == shown


async def test_pages_and_server_agree_on_the_zones_of_exchanges(module_page: Page):
    exchanges = ["NSE", "BSE", "NFO", "CDS", "MCX", "NSE_INDEX", "BINANCE", "ELSEWHERE"]
    zones = await run(module_page, "format", f"{exchanges}.map(m.exchangeZone)")
    now = datetime.now(UTC)
    for exchange, zone in zip(exchanges, zones, strict=True):
        there = _CLOSES.get(exchange, _OTHER).zone.utcoffset(now)
        assert ZoneInfo(zone).utcoffset(now) == there, exchange


async def test_the_site_s_own_times_are_in_its_zone_wherever_the_browser_is(module_page: Page):
    """The page names the zone of the server: TIME_ZONE."""
    assert await run(module_page, "zone", f"m.siteClock({NOON}, {NOON})") == "14:10:21 IST"


async def test_reconnect_delay_is_jittered_and_bounded(module_page: Page):
    """Any value below the doubling ceiling, never at once, never above the cap."""
    delays = await run(
        module_page,
        "connection",
        "[[0, 0.5], [3, 0.999], [50, 1], [50, 0]].map(([n, r]) => m.reconnectDelay(n, () => r))",
    )
    assert delays == [500, 7992, 30000, 250]


async def test_close_codes_are_judged_as_the_protocol_says(module_page: Page):
    """Retry, log in again, or stay away."""
    codes = [1001, 1006, 1012, 4408, 4429, 4503, 4401, 1009, 4400, 4403, 4413]
    verdicts = await run(module_page, "connection", f"{codes}.map(m.afterClose)")
    assert verdicts == ["retry"] * 6 + ["sign-in"] + ["stop"] * 4


@pytest.mark.parametrize(
    ("reason", "milliseconds"),
    [
        ("retry_after=12", 12_000),
        ("retry after 3 s", 3000),
        ("", 0),
        ("retry_after=999999", 300_000),
    ],
)
async def test_rate_limit_tells_how_long_to_wait(module_page: Page, reason: str, milliseconds: int):
    """The number is read from the close reason, and bounded."""
    assert await run(module_page, "connection", f"m.retryAfter('{reason}')") == milliseconds


FEED = """(() => {
    const feed = new m.FeedState();
    const rows = [
        {exchange: "NSE", symbol: "INFY", poolId: "1"},
        {exchange: "NSE", symbol: "TCS", poolId: "1"},
        {exchange: "NSE", symbol: "ITC", poolId: "2"},
        {exchange: "NSE", symbol: "WIPRO", poolId: ""},
    ];
    return %s.map((message) => {
        feed.apply({broker: "zerodha", pool_id: "1", ...message});
        return rows.map((row) => feed.isTrusted(row));
    });
})()"""


async def test_feed_trouble_of_one_account_leaves_the_other_alone(module_page: Page):
    """Be they at one broker. A row of which no account is known yet is trusted to none of them."""
    said = """[
        {status: "stale"}, {status: "live"}, {status: "closed", pool_id: "2"},
        {status: "stale", account: "renamed"}, {status: "live", account: "again"},
    ]"""
    assert await run(module_page, "feed", FEED % said) == [
        [False, False, True, False],
        [True, True, True, True],
        [True, True, False, False],
        [False, False, False, False],
        [True, True, False, False],
    ]


async def test_feed_trouble_of_named_symbols_ends_one_by_one(module_page: Page):
    """Symbols recover when they are named, or all at once with their pool."""
    said = """[
        {status: "stale", exchange: "NSE", symbols: ["INFY", "TCS", "ITC"]},
        {status: "live", exchange: "NSE", symbols: ["TCS"]},
        {status: "stale", exchange: "NSE", symbols: ["TCS"]},
        {status: "live"},
    ]"""
    assert await run(module_page, "feed", FEED % said) == [
        [False, False, True, True],
        [False, True, True, True],
        [False, False, True, True],
        [True, True, True, True],
    ]


async def test_a_headline_names_its_account_where_there_are_several(module_page: Page):
    """Else nobody knows for which the broker wants a login."""
    script = """(() => {
        const feed = new m.FeedState();
        const say = (account, status, reason = "") => {
            feed.apply({broker: "zerodha", account, pool_id: account, status, reason});
            return feed.headline?.text;
        };
        return [say("main", "stale", "no data"), say("second", "live"), feed.headline.text,
            say("main", "live"), say("second", "auth_required"), say("second", "closed")];
    })()"""
    assert await run(module_page, "feed", script) == [
        "The feed is stale: the prices marked so are not current. No data.",
        "The feed of Zerodha main is stale: the prices marked so are not current. No data.",
        "The feed of Zerodha main is stale: the prices marked so are not current. No data.",
        None,
        "Login needed for Zerodha second: no prices of Zerodha second arrive until then.",
        "The feed of Zerodha second is closed.",
    ]


async def test_the_watch_calls_every_state_as_the_server_does(module_page: Page):
    """As told by the server; and where only the feed status is known, as a pool that is in it."""
    told = [
        {"pool_id": "1", "broker": "zerodha", "status": each, "tone": each.tone,
         "feed_status": each.feed_status, "reason": "why"}
        for each in PoolState
    ]  # fmt: skip
    script = f"{json.dumps(told)}.map((pool) => m.summarize(pool, 'asha'))"
    shown = await run(module_page, "pool", script)
    assert [(pool["state"], pool["tone"]) for pool in shown] == [(s, s.tone) for s in PoolState]
    troubled = f"""{json.dumps(told)}.map((pool) => m.withTrouble(m.summarize(pool, 'asha'),
        {{status: pool.feed_status, reason: "told by the socket"}}))"""
    for pool, state in zip(await run(module_page, "pool", troubled), PoolState, strict=True):
        if state is not PoolState.WAITING_FOR_ROOM:  # its feed is no trouble
            assert (pool["state"], pool["tone"]) == (state, state.tone)
    names = f"{json.dumps(list(FeedStatus))}.map((each) => [m.stateName(each), m.stateTone(each)])"
    for word, tone in await run(module_page, "feed", names):
        assert PoolState(word).tone == tone


async def test_what_was_told_before_a_feed_turned_explains_nothing(module_page: Page):
    """A pool that had no worker before it lived is stale now, until the server says why."""
    script = """(() => {
        const feed = new m.FeedState();
        const told = {id: "1", feedStatus: "stale", state: "no worker", tone: "bad", reason: "w"};
        const say = (status) => (feed.apply({pool_id: "1", status}), feed.headline?.status);
        feed.poolsTold([told]);
        const first = say("stale");
        return [first, say("live"), say("stale"), (feed.poolsTold([told]), feed.headline.status)];
    })()"""
    found = await run(module_page, "feed", script)
    assert found == ["no worker", None, "stale", "no worker"]


@pytest.mark.parametrize(
    ("typed", "name"),
    [("nse:infy", ["NSE", "INFY"]), (" NFO: NIFTY27OCT2624500CE ", ["NFO", "NIFTY27OCT2624500CE"]),
     ("infy", None), ("NSE:", None), (":INFY", None)],
)  # fmt: skip
async def test_exact_names_are_recognised(module_page: Page, typed: str, name: list[str] | None):
    """EXCHANGE:SYMBOL asks for exactly that."""
    found = await run(module_page, "search", f"m.parseExact('{typed}')")
    assert (list(found.values()) if found else None) == name


QUIET_JS = """(() => {
  const store = new m.RowStore();
  const row = store.add({ exchange: 'NSE', symbol: 'INFY' });
  const tick = (ltp, at) => store.apply({ exchange: 'NSE', symbol: 'INFY', data: { ltp } }, at);
  %s
})()"""


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ("for (let s = 0; s <= 40; s += 1) tick(100 + s, s * 1000);"
         "return [64_000, 66_000].map((now) => m.isQuiet(row, now));", [False, True]),
        ("for (let s = 0; s <= 42; s += 6) tick(100 + s, s * 1000);"
         "return [68_000, 101_000, 103_000].map((now) => m.isQuiet(row, now));",
         [False, False, True]),
        ("store.accept(row.key, 'binance', 90_000); tick(100, 1_000_000);"
         "return [row.heardAt, m.isQuiet(row, 1_000_001)];", [910_000, True]),
        ("store.accept(row.key, 'binance'); tick(100, 1_000_000);"
         "return [row.heardAt, m.isQuiet(row, 1_000_001)];", [1_000_000, False]),
    ],
    ids=["it had plenty", "now and then", "a stored price of some age", "one of no age"],
)  # fmt: skip
async def test_a_live_price_is_quiet_sooner_where_there_was_plenty(
    module_page: Page, story: str, said: list[Any]
):
    """A line that dries up on a feed that lives looks like one that rests, only sooner."""
    assert await run(module_page, "store", QUIET_JS % story) == said


REFUSALS = """(async () => {
    const s = await import('/static/streaming/js/store.js');
    const notices = new Map();
    const asked = [];
    const store = new s.RowStore();
    const names = ["A", "B"].map((symbol) => ({exchange: "NSE", symbol}));
    names.forEach((each) => store.add(each));
    const shown = () => Object.fromEntries([...notices].map(([key, each]) => [key, each.title]));
    const rows = () => store.rows().map((row) => [row.state, row.waitsForRoom]);
    const subscriptions = new m.Subscriptions({
        connection: {send: ({symbols}) => asked.push(symbols.map(({symbol}) => symbol).join())},
        store, onUnknown() {}, onSuggested() {},
        notices: {
            show: (notice) => notices.set(notice.key, notice),
            dismiss: (key) => notices.delete(key),
            isShown: (key) => notices.has(key),
        },
    });
    const say = (fields, ...symbols) => subscriptions.answered({subscriptions: symbols.map(
        (symbol) => ({exchange: "NSE", symbol, pool_id: "1", ...fields}))});
    const code = "MAX_CAPACITY_REACHED";
    const steps = [];
    const note = () => steps.push({shown: shown(), rows: rows()});
    %s
    return steps;
})()"""


async def test_a_refusal_is_told_until_its_symbol_is_active(module_page: Page) -> None:
    """Raised limits place one after the other; the notice goes with the last of them."""
    script = """
    say({status: "error", code, message: "full"}, "A", "B"); note();
    say({status: "success", state: "pending"}, "A"); note();
    say({status: "success", state: "active"}, "A"); note();
    say({status: "success", state: "active"}, "B"); note();
    """
    refused, pending, one, none = await run(module_page, "subscriptions", REFUSALS % script)
    title = {f"refused:{'MAX_CAPACITY_REACHED'}": "A, B refused."}
    assert refused["shown"] == pending["shown"] == title
    assert one["shown"] == {"refused:MAX_CAPACITY_REACHED": "B refused."}
    assert none["shown"] == {}
    assert [state for state, _ in none["rows"]] == ["waiting", "waiting"]


async def test_what_was_refused_for_want_of_room_is_asked_for_once_there_is_some(
    module_page: Page,
) -> None:
    """Never of another pool, nor where the broker's own limit was the reason."""
    script = """
    const pool = (used, capacity, id = "1") => [{id, used, capacity}];
    const figures = (...told) => {
        subscriptions.figuresCame(pool(...told));
        steps.push(asked.splice(0));
    };
    const details = {used: 6, capacity: 6};
    say({status: "error", code, message: "full", details}, "A", "B");
    figures(6, 6); figures(6, 9000, "2"); figures(undefined, undefined);
    figures(5, 6); figures(5, 6);
    say({status: "error", code, message: "full", details}, "A");
    figures(6, 9000);
    say({status: "success", state: "active"}, "A", "B");
    figures(6, 9000);
    say({status: "error", code, message: "the broker's own limit"}, "A");
    figures(6, 9000);
    """
    steps = await run(module_page, "subscriptions", REFUSALS % script)
    assert steps == [[], [], [], ["A"], ["B"], ["A"], [], []]


async def test_symbols_without_a_place_wait_for_room_whatever_the_feed_says(
    module_page: Page,
) -> None:
    script = """
    say({status: "error", state: "pending", code, message: "full"}, "A"); note();
    store.markStale("stale it is"); note();
    say({status: "error", state: "pending", code, message: "full"}, "B"); note();
    say({status: "success", state: "active"}, "A", "B"); note();
    """
    one, stale, both, none = await run(module_page, "subscriptions", REFUSALS % script)
    assert one["shown"] == {"room": "A: waiting for room."}
    assert one["rows"][0] == stale["rows"][0] == ["stale", True]
    assert both["shown"] == {"room": "A, B: waiting for room."}
    assert both["rows"] == [["stale", True], ["stale", True]]
    assert none["shown"] == {}
    assert none["rows"] == [["waiting", False], ["waiting", False]]


async def test_what_waits_for_its_account_says_why_until_it_is_there(module_page: Page) -> None:
    script = """
    store.apply({exchange: "NSE", symbol: "A", data: {ltp: 5}}, 1000, () => true);
    const why = () => steps.push(store.rows().map((row) => [row.state, row.reason]));
    why();
    say({status: "success", state: "pending", message: "It is disabled."}, "A", "B"); why();
    say({status: "success", state: "active"}, "A", "B"); why();
    store.apply({exchange: "NSE", symbol: "A", data: {ltp: 6}}, 2000, () => true); why();
    steps.push(shown());
    """
    before, away, back, live, notices = await run(module_page, "subscriptions", REFUSALS % script)
    assert before == [["live", ""], ["waiting", ""]]
    assert away == [["stale", "It is disabled."], ["waiting", "It is disabled."]]
    assert back == [["stale", ""], ["waiting", ""]]
    assert live == [["live", ""], ["waiting", ""]]
    assert notices == {}


async def test_the_headline_names_what_waits_for_room(module_page: Page) -> None:
    feed = """(() => {
        const feed = new m.FeedState(), of = {pool_id: "1"};
        feed.apply({...of, status: "stale", exchange: "NSE", symbols: ["A"],
            reason: "waiting for room: the limits were lowered"});
        const room = feed.headline.status;
        feed.apply({...of, status: "stale", exchange: "NSE", symbols: ["B"], reason: "silent"});
        const worse = feed.headline.status;
        feed.apply({...of, status: "live", exchange: "NSE", symbols: ["A", "B"]});
        return [room, worse, feed.headline];
    })()"""
    assert await run(module_page, "feed", feed) == ["waiting for room", "stale", None]


@pytest.mark.parametrize("place", ["replace", "replaceBeside"])
async def test_nothing_is_shown_of_a_name_that_ended_in_either_list(
    module_page: Page, place: str
) -> None:
    """The list beside the current one shows prices as well."""
    ended = f"""(() => {{
        const store = new m.RowStore();
        store.{place}([{{exchange: 'NSE', symbol: 'TCS'}}]);
        store.apply({{exchange: 'NSE', symbol: 'TCS', data: {{ltp: 3900, bid_price: 3899}}}}, 1);
        store.end('NSE:TCS', 'NSE:TCS expired', 'expired');
        const {{state, last, bid, ended}} = store.get('NSE:TCS');
        return [state, last ?? null, bid ?? null, ended];
    }})()"""
    assert await run(module_page, "store", ended) == ["refused", None, None, "expired"]
