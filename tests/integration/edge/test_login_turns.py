"""Logins in turns at a real server: strangers wait for a hash, and nobody else for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import pytest
from django.core import signing

from openalgo_site.known_browsers import COOKIE, SALT
from openalgo_site.login_turns import BUSY_SECONDS, with_login_turns
from streaming.limits import EdgeLimits
from tests.integration.edge.conftest import EdgeServer
from tests.support import eventually

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = 20_000_000  # more than the kernel takes of it
LOGIN_FORM = b"username=trader&password=secret"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str


class SlowSite:
    """A site whose logins are served when they are told to be, and which knows who is inside."""

    def __init__(self, **limits: Any) -> None:
        self.refused = 0
        self.inside: list[str] = []  # paths with their queries, in the order in which they came
        self.most_inside = 0
        self.came: list[str] = []
        self.go_on = asyncio.Event()
        self.application = with_login_turns(
            self._page, limits=EdgeLimits(**limits), on_refused=self._note_refusal
        )

    def _note_refusal(self) -> None:
        self.refused += 1

    async def _page(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"] + scope["query_string"].decode()
        body = await receive()
        if body["type"] != "http.request":
            return
        self.came.append(name)
        self.inside.append(name)
        self.most_inside = max(self.most_inside, len(self.inside))
        try:
            if not scope["path"].startswith("/quick"):
                await self.go_on.wait()
        finally:
            self.inside.remove(name)
        is_large = scope["query_string"] == b"large"
        answer = bytes(LARGE) if is_large else b"%d" % len(body["body"])
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # The server takes what is there, and lets the rest wait for the client.
        for part in (answer, b""):
            await send({"type": "http.response.body", "body": part, "more_body": bool(part)})

    async def has_inside(self, count: int) -> None:
        await eventually(lambda: len(self.inside) == count, timeout=60)


class Line:
    """A connection from an address of the loopback range."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def answer(self) -> Answer:
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(head[0].split()[1]), headers, body.decode())


class Client:
    """Asks a site from its address, as whom it says."""

    def __init__(self, edge: EdgeServer, stack: AsyncExitStack, number: int, shown: str) -> None:
        self._edge, self._stack = edge, stack
        self._address, self._shown = f"127.0.3.{number}", shown

    async def open(self) -> Line:
        line = Line(
            *await asyncio.open_connection(
                "127.0.0.1", self._edge.port, local_addr=(self._address, 0), limit=2**20
            )
        )
        self._stack.push_async_callback(line.close)
        return line

    async def ask(self, path: str, body: bytes = b"", *, sent: int | None = None) -> Line:
        """Send a request, of its body the first ``sent`` bytes."""
        line = await self.open()
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: localhost\r\n{self._shown}"
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        line.writer.write(f"{head}{length}\r\n".encode() + body[:sent])
        return line

    async def get(self, path: str) -> Answer:
        return await (await self.ask(path)).answer()


MakeClient = Callable[..., Client]
Serve = Callable[..., Awaitable[SlowSite]]


class Served:
    """A site at a real server, and clients of it."""

    def __init__(self, site: SlowSite, edge: EdgeServer, stack: AsyncExitStack) -> None:
        self.site, self._edge, self._stack = site, edge, stack

    def stranger(self, number: int = 1, shown: str = "") -> Client:
        return Client(self._edge, self._stack, number, shown)


@asynccontextmanager
async def served(**limits: Any) -> AsyncIterator[Served]:
    site = SlowSite(**limits)
    async with (
        EdgeServer(http=site.application) as edge,
        AsyncExitStack() as stack,
    ):
        try:
            yield Served(site, edge, stack)
        finally:
            site.go_on.set()


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
    site = SlowSite()
    first = asyncio.create_task(log_in(site, "first"))
    await site.has_inside(1)
    async with asyncio.timeout(60):
        await log_in(site, "leaving", "http.disconnect")
    site.go_on.set()
    await first
    assert site.came == ["/login/first"]
    assert site.refused == 0


async def test_a_cancelled_login_gives_its_turn_back() -> None:
    site = SlowSite()
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
