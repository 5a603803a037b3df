"""Logins in turns at a real server: strangers wait for a hash, and nobody else for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from django.core import signing

from openalgo_site.login.known_browsers import COOKIE, SALT
from openalgo_site.turns.logins import BUSY_SECONDS, with_login_turns
from openalgo_site.turns.requests import Visitor
from openalgo_site.turns.visitors import Visitors
from streaming.edge_limits import EdgeLimits
from tests.integration.site.turns.slow_site import LARGE, Served, SlowSite, Wrap, served_site
from tests.support import eventually

pytestmark = pytest.mark.django_db(transaction=True)

LOGIN_FORM = b"username=trader&password=secret"


def logins(**limits: Any) -> Wrap:
    return lambda site, on_refused: with_login_turns(
        site, limits=EdgeLimits(**limits), on_refused=on_refused
    )


def served(**limits: Any) -> AbstractAsyncContextManager[Served]:
    return served_site(logins(**limits))


def known_browser(number: int) -> str:
    cookie = signing.dumps([f"browser-{number}", "digest"], salt=SALT)
    return f"Cookie: {COOKIE}={cookie}\r\n"


@pytest.mark.parametrize("path", ["/login/", "/admin/login/"])
async def test_strangers_log_in_one_at_a_time_and_known_browsers_beside_them(path: str) -> None:
    async with served(max_logins_waiting=4) as there:
        site = there.site
        lines = [await there.stranger(n).ask(path, LOGIN_FORM) for n in range(1, 7)]
        await site.has_inside(1)
        await eventually(lambda: site.refused == 1, timeout=60)
        # Whoever looks at the form, or at anything else, waits for no password.
        assert (await there.stranger(1).get("/quick")).status == 200
        await there.stranger(1, known_browser(1)).ask(path, LOGIN_FORM)
        await site.has_inside(2)
        forged = known_browser(2)[:-4] + "x\r\n"
        refused = await (await there.stranger(9, forged).ask(path, LOGIN_FORM)).answer()
        assert (refused.status, refused.headers["retry-after"]) == (503, str(BUSY_SECONDS))
        assert refused.headers["connection"] == "close"
        assert "Too many people are logging in" in refused.text
        assert "counts as no attempt" in refused.text
        site.go_on.set()
        answers = sorted([(await line.answer()).status for line in lines])
        assert answers == [200] * 5 + [503]
        assert site.most_inside == 2


async def test_a_known_browser_is_no_stranger_to_the_pages() -> None:
    """Its login would wait behind those of strangers there, otherwise."""
    visitors, seen = Visitors(), list[Visitor]()

    def wrap(site: Any, on_refused: Any) -> Any:
        async def look(scope: Any, receive: Any, send: Any) -> None:
            seen.append(visitors.of(scope))
            await site(scope, receive, send)

        return with_login_turns(look, limits=EdgeLimits(), on_refused=on_refused)

    async with served_site(wrap) as there:
        there.site.go_on.set()
        for headers in (known_browser(1), known_browser(2)[:-4] + "x\r\n"):
            client = there.stranger(1, headers)
            assert (await (await client.ask("/login/", LOGIN_FORM)).answer()).status == 200
        assert (await there.stranger(1, known_browser(1)).get("/quick")).status == 200
    assert [visitor.is_known for visitor in seen] == [True, False, False], "only its login"
    assert seen[0].share == "browser-1"


async def test_whoever_comes_to_log_in_first_is_before_those_who_guess_on() -> None:
    """Sixty guesses from twenty addresses, and somebody with a new browser."""
    async with served() as there:
        site = there.site
        guesses = [
            await there.stranger(n % 20 + 1).ask(f"/login/?{n}", LOGIN_FORM) for n in range(60)
        ]
        await site.has_inside(1)
        await eventually(lambda: site.refused == 39, timeout=60)
        rightful = await there.stranger(99).ask("/login/?rightful", LOGIN_FORM)
        # It has the place of one who was served, and waits for no second guess of anybody.
        await eventually(lambda: site.refused == 40, timeout=60)
        site.go_on.set()
        assert (await rightful.answer()).status == 200
        answers = Counter([(await line.answer()).status for line in guesses])
        assert answers == {200: 20, 503: 40}
        assert site.most_inside == 1


async def test_a_login_that_waits_for_too_long_is_told() -> None:
    async with served(login_wait_seconds=0.05) as there:
        await there.stranger(1).ask("/login/", LOGIN_FORM)
        await there.site.has_inside(1)
        answer = await (await there.stranger(2).ask("/login/", LOGIN_FORM)).answer()
        assert (answer.status, there.site.refused) == (503, 1)


async def log_in(site: SlowSite, name: str, *behind: str) -> None:
    """Let a login come as the server gives it: its body, then what is ``behind`` that."""
    messages: asyncio.Queue[Any] = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": LOGIN_FORM, "more_body": False})
    for kind in behind:
        messages.put_nowait({"type": kind})

    async def send(message: dict[str, Any]) -> None:
        pass

    scope = {
        "type": "http", "method": "POST", "path": "/login/", "query_string": name.encode(),
        "headers": [], "client": (f"192.0.2.{len(name)}", 5),
    }  # fmt: skip
    await site.application(scope, messages.get, send)


async def test_who_leaves_while_waiting_is_not_served() -> None:
    site = SlowSite(logins())
    first = asyncio.create_task(log_in(site, "first"))
    await site.has_inside(1)
    async with asyncio.timeout(60):
        await log_in(site, "leaving", "http.disconnect")
    site.go_on.set()
    await first
    assert site.came == ["/login/first"]
    assert site.refused == 0


async def test_a_cancelled_login_gives_its_turn_back() -> None:
    site = SlowSite(logins())
    served = asyncio.create_task(log_in(site, "served"))
    await site.has_inside(1)
    waiting = asyncio.create_task(log_in(site, "waiting"))
    await asyncio.sleep(0)  # it comes as far as it can
    for task in (waiting, served):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    site.go_on.set()
    async with asyncio.timeout(60):
        await log_in(site, "next")
    assert site.came == ["/login/served", "/login/next"]


async def test_a_slow_upload_takes_no_turn() -> None:
    async with served() as there:
        there.site.go_on.set()
        upload = await there.stranger(1).ask("/login/", LOGIN_FORM, sent=5)
        other = await there.stranger(2).ask("/login/", LOGIN_FORM)
        assert (await other.answer()).status == 200
        upload.writer.write(LOGIN_FORM[5:])
        assert (await upload.answer()).text == str(len(LOGIN_FORM))


async def test_a_slow_reader_takes_no_turn() -> None:
    async with served() as there:
        there.site.go_on.set()
        reader = await there.stranger(1).ask("/login/?large", LOGIN_FORM)
        await eventually(lambda: there.site.came and not there.site.inside, timeout=60)
        other = await there.stranger(2).ask("/login/", LOGIN_FORM)
        assert (await other.answer()).status == 200
        assert len((await reader.answer()).text) == LARGE


async def test_many_slow_uploads_of_an_address_keep_nobody_from_logging_in() -> None:
    """None has a place before it is whole: they would be all that there are."""
    async with served(max_logins_waiting=3) as there:
        there.site.go_on.set()
        uploads = [await there.stranger(1).ask("/login/", LOGIN_FORM, sent=5) for _ in range(6)]
        other = await there.stranger(2).ask("/login/", LOGIN_FORM)
        assert (await other.answer()).status == 200
        for upload in uploads:
            upload.writer.write(LOGIN_FORM[5:])
            assert (await upload.answer()).status == 200
