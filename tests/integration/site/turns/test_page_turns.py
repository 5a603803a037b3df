"""Pages in turns at a real server: no user keeps another waiting, nobody harmless is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from openalgo_site.turns.pages import PageLines, with_page_turns
from openalgo_site.turns.visitors import Visitors
from streaming.edge_limits import EdgeLimits
from tests.integration.site.turns.slow_site import Client, Served, served_site
from tests.support import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class Site:
    """A site in turns, and clients of it."""

    def __init__(self, served: Served, visitors: Visitors, lines: PageLines) -> None:
        self.served, self.slow, self.visitors, self.lines = served, served.site, visitors, lines

    def user(self, user_id: int, number: int = 1) -> Client:
        """Return a client with a session that was looked up before."""
        self.visitors.note_session(f"session-{user_id}", user_id)
        return self.claimed(number, f"session-{user_id}")

    def claimed(self, number: int, session: str) -> Client:
        return self.served.stranger(number, f"Cookie: sessionid={session}\r\n")

    async def holds(self, count: int) -> None:
        """Wait until so many have come, inside or waiting."""
        await eventually(lambda: len(self.lines.pages) == count, timeout=60)


@asynccontextmanager
async def turned(**limits: Any) -> AsyncIterator[Site]:
    visitors, lines = Visitors(), PageLines.of(EdgeLimits(**limits), connections=None)
    async with served_site(
        lambda site, on_refused: with_page_turns(
            site, lines, visitor_of=visitors.of, on_refused=on_refused
        )
    ) as served:
        yield Site(served, visitors, lines)


async def test_slow_pages_of_one_user_at_many_addresses_keep_no_other_waiting() -> None:
    async with turned() as there:
        slow = [await there.user(1, n // 2 + 1).ask(f"/slow?{n}") for n in range(200)]
        await there.holds(200)
        await there.slow.has_inside(2)
        assert (await there.user(2).get("/quick")).status == 200
        assert there.slow.most_inside == 3
        there.visitors.note_key("the key of a program", 1)
        program = there.served.stranger(1, "X-API-KEY: the key of a program\r\n")
        assert (await program.get("/quick")).status == 200
        there.slow.go_on.set()
        assert {(await line.answer()).status for line in slow} == {200}
        assert not there.slow.refused


async def test_whoever_invents_sessions_gains_no_turns() -> None:
    async with turned() as there:
        for n in range(60):
            await there.claimed(1, f"invented-{n}").ask(f"/slow?{n}")
        await there.holds(60)
        await there.served.stranger(2).ask("/slow?another")
        await there.slow.has_inside(3)
        assert there.slow.inside[-1] == "/slowanother"
        assert (await there.user(1).get("/quick")).status == 200


async def test_slow_pages_of_many_strangers_keep_no_user_waiting() -> None:
    async with turned() as there:
        slow = [await there.claimed(n, f"invented-{n}").ask(f"/slow?{n}") for n in range(1, 101)]
        await there.holds(100)
        await there.slow.has_inside(3)
        assert (await there.user(1).get("/quick")).status == 200
        assert there.slow.most_inside == 4
        there.slow.go_on.set()
        assert {(await line.answer()).status for line in slow} == {200}


async def test_harmless_clients_meet_no_bound() -> None:
    """An administrator, a dashboard and a spreadsheet of one address, each of its own user."""
    async with turned() as there:
        admin, dashboard = there.user(1), there.user(2)
        there.visitors.note_key("of a spreadsheet", 3)
        spreadsheet = there.served.stranger(1, "X-API-KEY: of a spreadsheet\r\n")
        asked = [await admin.ask(f"/admin/?{n}") for n in range(6)]
        asked += [await dashboard.ask(f"/status/{n}") for n in range(10)]
        asked += [await spreadsheet.ask(f"/api/instruments?{n}") for n in range(20)]
        await there.holds(36)
        # Files wait for none of these.
        asked += [await there.served.stranger(1).ask(f"/static/{n}") for n in range(30)]
        await eventually(lambda: len(there.lines.light) == 30, timeout=60)
        there.slow.go_on.set()
        assert [(await line.answer()).status for line in asked] == [200] * len(asked)
        assert not there.slow.refused
