"""Pure decisions of the status page and its charts, called in the browser that runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Page

from pooling.outages import OUTAGES
from streaming.link.latency import BUCKETS_SECONDS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HOUR = 3_600_000
LIVE = ("good", "live")
DAY = 24 * HOUR


async def run(page: Page, module: str, expression: str, *values: Any) -> Any:
    """Evaluate ``expression`` with the module's exports as ``m`` and ``values`` as ``v``."""
    return await page.evaluate(
        f"async (v) => {{ const m = await import('/static/status/js/{module}.js');"
        f" return ({expression}); }}",
        list(values),
    )


async def test_nothing_stays_live_by_itself(module_page: Page):
    """Four seconds without a word from worker or gateway are the end of live."""
    cases = [
        (500, 300, True, ""),
        (500, 3499, True, ""),
        (500, 3500, True, "no word from its worker for 4 s; it was live"),
        (3900, 200, True, "no word from its worker for 4 s; it was live"),
        (500, 5000, True, "no figures from the gateway for 5 s; it was live"),
        (500, 900, False, "not connected to the gateway for 0 s; it was live"),
    ]
    pool = {"state": "live", "tone": "good", "reason": "", "is_served": True}
    code = """v[0].map(([age, sinceFigures, isOpen]) =>
        m.shownState({...v[1], heartbeat_age_ms: age}, {isOpen, sinceFigures}))"""
    states = await run(module_page, "truth", code, cases, pool)
    for state, (*_, reason) in zip(states, cases, strict=True):
        is_gone = reason.startswith("no word")
        shown = ("bad", "no worker") if is_gone else ("warn", "stale") if reason else LIVE
        assert (state["tone"], state["word"], state["reason"]) == (*shown, reason)


async def test_history_calls_an_outage_what_the_server_does(module_page: Page):
    """One list of states, and each has a colour of its own in the band."""
    found = await run(module_page, "band", "[...m.OUTAGES]")
    assert set(found) == OUTAGES


async def test_nothing_is_counted_of_a_worker_that_fell_silent(module_page: Page):
    """What it held is not known; while the gateway itself is silent the page stays as it was."""
    connection = {"slot": 0, "state": "live"}
    pool: dict[str, object] = {"is_served": True, "heartbeat_age_ms": 500, "used": 9, "waiting": 2}
    pool |= {"connections_used": 1, "connections_trying": 1, "connections": [connection]}
    nothing: dict[str, object] = {"is_served": False, "heartbeat_age_ms": 500}
    nothing |= {"used": 0, "waiting": 0}
    nothing |= {"connections_used": 0, "connections_trying": 0, "connections": []}
    nothing |= {"connections_left_out": 0}
    cases = [(3400, True, pool), (3500, True, nothing), (5000, True, pool), (3500, False, pool)]
    code = """v[0].map(([sinceFigures, isOpen]) => m.believed(v[1], {isOpen, sinceFigures}))"""
    told = await run(module_page, "truth", code, [each[:2] for each in cases], pool)
    assert told == [wanted for *_, wanted in cases]


async def test_the_sum_of_states_is_that_of_the_cards(module_page: Page):
    """A pool that went silent on the page is not counted as live over it."""
    pools = [
        {"state": "live", "tone": "good", "is_served": True, "heartbeat_age_ms": age}
        for age in (300, 3800, 900)
    ]
    figures = {"states": {"live": 40, "no worker": 1}, "pools": pools}
    code = "v[1].map((sinceFigures) => m.countedStates(v[0], {isOpen: true, sinceFigures}))"
    assert await run(module_page, "truth", code, figures, [0, 500]) == [
        {"live": 40, "no worker": 1},
        {"live": 39, "no worker": 2},
    ]
    alone = {"states": {"live": 1}, "pools": pools[1:2]}
    assert await run(module_page, "truth", code, alone, [500]) == [{"no worker": 1}]


async def test_a_pool_without_a_worker_says_what_the_server_says(module_page: Page):
    """Its age is no news: the server knew it already."""
    pool: dict[str, Any] = {"state": "no worker", "tone": "bad", "reason": "last heard at noon"}
    pool |= {"is_served": False, "heartbeat_age_ms": 99_000}
    when = {"isOpen": True, "sinceFigures": 100}
    state = await run(module_page, "truth", "m.shownState(v[0], v[1])", pool, when)
    assert state == {"tone": "bad", "word": "no worker", "reason": "last heard at noon"}


async def test_a_credential_that_ends_is_announced(module_page: Page):
    """The last hour warns; an ended one is bad."""
    cases = [
        (False, None, "off", "none stored"),
        (True, None, "off", "stored, end not known"),
        (True, 7_300_000, "good", "ends in 7200000, at 7300000"),
        (True, 3_699_999, "warn", "ends in 3599999, at 3699999"),
        (True, 95_000, "bad", "expired 5000 ago, at 95000"),
    ]
    code = """v[0].map(([has_credential, credential_expiry_ms]) => {
        const words = {age: (ms) => `${ms}`, moment: (at) => `at ${at}`};
        const told = m.credential({has_credential, credential_expiry_ms}, 100000, words);
        return [has_credential, credential_expiry_ms, told.tone, told.text];
    })"""
    assert await run(module_page, "truth", code, cases) == [list(case) for case in cases]


async def test_a_stamp_of_whole_seconds_is_no_measurement(module_page: Page):
    """The way's first stage is told as the console tells its latency."""
    cases = [
        (0.04, False, "0.04 ms"),
        (35.2, False, "35 ms"),
        (750, True, "below 1 s"),
        (2431.5, True, "below 3 s"),
        (BUCKETS_SECONDS[-1] * 1000, False, "over 5 s"),
        (BUCKETS_SECONDS[-1] * 1000, True, "over 5 s"),
        (None, True, "\N{EN DASH}"),
    ]
    code = "v[0].map(([value, isCoarse]) => m.duration(value, isCoarse))"
    told = await run(module_page, "gateways", code, cases)
    assert told == [text for *_, text in cases]
    seen = {"ticks": 8, "p50_ms": 750, "p99_ms": 995}
    code = """(([section, list]) => {
        new m.Way({section, list}).show(v[0]);
        return [...list.children].slice(0, 2).map((item) => item.children[1].textContent);
    })(['section', 'ol'].map((name) => document.createElement(name)))"""
    stages = {"exchange": {**seen, "is_coarse": True}, "worker": {**seen, "is_coarse": False}}
    assert await run(module_page, "gateways", code, stages) == ["below 1 s", "750 ms"]


async def test_limits_tell_what_is_in_force(module_page: Page):
    """A saved revision that no worker applied yet is named beside the one in force."""
    pools = [
        {"revision": 4, "applied_revision": 4, "is_served": True},
        {"revision": 5, "applied_revision": 4, "is_served": True},
        {"revision": 5, "applied_revision": None, "is_served": False},
    ]
    told = await run(module_page, "truth", "v[0].map((pool) => m.revision(pool).text)", pools)
    assert told == [
        "revision 4 in force",
        "revision 4 in force, 5 is saved",
        "revision 5, not in force",
    ]


async def test_the_axis_of_values_is_round(module_page: Page):
    """Whole steps of round numbers, the highest at or above the value."""
    code = """v[0].map(([value]) => {
        const {top, marks} = m.valueAxis(value);
        return [value, top, marks.length];
    })"""
    cases = [[0, 1, 2], [3, 3, 4], [9, 10, 3], [43, 60, 4], [9000, 10_000, 5], [4361, 6000, 4]]
    assert await run(module_page, "chart-layout", code, cases) == cases


async def test_marks_of_time_stand_at_round_local_times(module_page: Page):
    """In Kolkata midnight is at 18:30 of the other clock."""
    offset = await run(module_page, "chart-layout", "m.offsetOf('Asia/Kolkata', 1763700000123)")
    assert offset == 5.5 * HOUR
    found = await run(
        module_page, "chart-layout", "m.timeMarks(v[0], v[1], 7, v[2])", 0, 7 * DAY, offset
    )
    assert found["step"] == DAY
    assert [(at + offset) % DAY for at in found["marks"]] == [0] * 7


async def test_a_line_has_a_gap_where_nothing_is_known(module_page: Page):
    """And a pointer there reads nothing."""
    points = json.dumps([[0, 1], [10, 2], [40, 3], [50, 1]])
    assert await run(module_page, "chart-layout", f"m.runs({points}, 10).map((r) => r.length)") == [
        2,
        2,
    ]
    read = f"[-1, 0, 9, 15, 30, 44, 60, 99].map((at) => m.pointAt({points}, at, 10))"
    assert await run(module_page, "chart-layout", read) == [-1, 0, 0, 1, -1, 2, 3, -1]
    path = "m.stepPath([[0, 1], [10, 2]], 10, (at) => at, (value) => 5 - value)"
    assert await run(module_page, "chart-layout", path) == "M0.0 4.0H10.0V3.0H20.0"


async def test_an_outage_is_seen_however_short_it_was(module_page: Page):
    """Two pixels at least, over everything else, and never beyond the band."""
    states = [[0, 500, "live"], [500, 501, "stale"], [501, 1000, "live"], [1000, 1000, "stale"]]
    found = await run(module_page, "band", "m.bars(v[0], 0, 1000, 0, 100)", states)
    assert [index for *_, index in found] == [0, 2, 1, 3]
    assert [round(width, 1) for _, width, _ in found] == [50, 49.9, 2, 2]
    assert found[3][0] == 98
    shown = await run(module_page, "band", "v[0].map(m.lasted)", [45_000, 720_000, 11_100_000, DAY])
    assert shown == ["45 s", "12 min", "3 h 5 min", "1 d"]


async def test_arrow_keys_and_pointer_choose_within_what_is_shown(module_page: Page):
    """Chart and band alike: from the end, never beyond it, and nothing once the focus has gone."""
    code = """(() => {
        const svg = m.svgElement('svg');
        svg.style.cssText = 'position: fixed; left: 0; top: 0; width: 120px; height: 20px';
        document.body.append(svg);
        const told = [];
        const picture = new m.Picture({
            svg, margin: {left: 10, right: 10}, draw: () => told.push(`drawn ${picture.width}`),
            find: (at) => at, tell: (index) => told.push(index),
        });
        const press = (key) => svg.dispatchEvent(new KeyboardEvent('keydown', {key}));
        press('Home');
        picture.show({from: 0, to: 50, count: 30});
        for (const key of v[0]) press(key);
        svg.dispatchEvent(new PointerEvent('pointermove', {clientX: 60}));
        svg.dispatchEvent(new Event('blur'));
        svg.remove();
        return [told, picture.x(25), picture.x(99)];
    })()"""
    keys = ["ArrowLeft", "ArrowRight", "PageUp", "x", "Home", "ArrowLeft", "End"]
    told, middle, beyond = await run(module_page, "picture", code, keys)
    assert told == ["drawn 120", -1, 29, 29, 17, 0, 0, 29, 25, -1]
    assert (middle, beyond) == (60, 110)


async def test_moments_are_as_short_as_they_can_be(module_page: Page):
    """Today's time, this year's day, another year's with the year."""
    now = 1_763_724_600_000  # 21 November 2025, 17:00 in Kolkata
    moments = [now, now - DAY, now - 400 * DAY]
    code = "v[0].map((at) => new m.Moments('Asia/Kolkata').short(at, v[1]))"
    assert await run(module_page, "moments", code, moments, now) == [
        "17:00 IST",
        "20 Nov 17:00 IST",
        "17 Oct 2024 17:00 IST",
    ]
