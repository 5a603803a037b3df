"""Bodies of any size from anybody: the gateway keeps none of what is too much."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers import asgi
from django.urls import reverse

from openalgo_site.asgi import application, gateway
from openalgo_site.web.bodies import body_bounds, with_bounded_bodies
from streaming.edge_limits import EdgeLimits, Refusal
from streaming.models import MAX_WATCHLIST_ITEMS

MOST = 100_000
LIMITS = EdgeLimits(api_body_bytes=MOST, form_body_bytes=MOST, login_body_bytes=MOST)


class Kept:
    """What Django has kept of bodies."""

    bytes = 0


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    found, make = Kept(), asgi.tempfile.SpooledTemporaryFile  # type: ignore[attr-defined]

    def noted(*args: object, **kwargs: object) -> object:
        file = make(*args, **kwargs)
        write = file.write

        def count(data: bytes) -> int:
            found.bytes += len(data)
            return int(write(data))

        file.write = count
        return file

    monkeypatch.setattr(asgi.tempfile, "SpooledTemporaryFile", noted)  # type: ignore[attr-defined]
    return found


def post(path: str, *, declared: bytes | None = None, method: str = "POST") -> dict[str, Any]:
    """Return the scope of a request with a body."""
    headers = [(b"host", b"127.0.0.1")]
    if declared is not None:
        headers.append((b"content-length", declared))
    return {
        "type": "http", "method": method, "path": path, "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8000),
    }  # fmt: skip


async def answer(
    application: Any, scope: dict[str, Any], parts: list[bytes]
) -> tuple[int, dict[bytes, bytes], bytes, int]:
    """Send a body in parts; returns status, headers, body and how many parts were taken."""
    told = ApplicationCommunicator(application, scope)
    for at, part in enumerate(parts):
        more = at < len(parts) - 1
        await told.send_input({"type": "http.request", "body": part, "more_body": more})
    start = await told.receive_output(30)
    body, more = b"", True
    while more:
        message = await told.receive_output(30)
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await told.wait(30)
    return start["status"], dict(start["headers"]), body, len(parts) - told.input_queue.qsize()


async def all_sizes(scope: Any, receive: Any, send: Any) -> None:
    """Read a body and answer with how long it was."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % size})


async def test_a_body_that_never_ends_is_refused_and_not_kept(kept: Kept) -> None:
    """Nor is it read for ever: a mebibyte more is dropped, so that the answer can be read."""
    bounded = with_bounded_bodies(get_asgi_application(), limits=LIMITS)
    parts = [b"x" * 40_000] * 50
    status, headers, _, taken = await answer(bounded, post("/livez"), parts)
    assert (status, headers[b"connection"]) == (413, b"close")
    assert taken == 3 + 27
    assert kept.bytes <= MOST


async def test_whoever_waits_after_a_refusal_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openalgo_site.web.bodies._FAREWELL_SECONDS", 0.05)
    told = ApplicationCommunicator(
        with_bounded_bodies(all_sizes, limits=LIMITS), post("/", declared=b"99999999")
    )
    started = asyncio.get_running_loop().time()
    await told.wait(30)
    assert asyncio.get_running_loop().time() - started >= 0.05


@pytest.mark.parametrize("declared", [b"100001", b"9" * 5000])
async def test_a_length_that_is_too_much_is_refused_before_anything_is_read(
    kept: Kept, declared: bytes
) -> None:
    bounded = with_bounded_bodies(get_asgi_application(), limits=LIMITS)
    status, _, body, _ = await answer(bounded, post("/api/pools", declared=declared), [b"x"])
    assert (status, kept.bytes) == (413, 0)
    words = "The body is larger than 100,000 bytes, the most that is taken at /api/."
    assert msgspec.json.decode(body)["message"] == words


@pytest.mark.django_db(transaction=True)
async def test_what_is_just_not_too_much_comes_through(kept: Kept) -> None:
    bounded = with_bounded_bodies(get_asgi_application(), limits=LIMITS)
    status, *_ = await answer(bounded, post("/livez"), [b"x" * (MOST // 2)] * 2)
    assert status != 413
    assert kept.bytes == MOST


KIB = 1024


@pytest.mark.parametrize("is_told", [True, False], ids=["length told", "in chunks"])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
@pytest.mark.parametrize(
    ("path", "most_kib"),
    [
        ("/api/pools/1/credentials", 64),
        ("/api/preferences", 64),
        ("/api/nothing/there", 64),
        ("/api/watchlists", 256),
        ("/api/watchlists/7", 256),
        ("/api/watchlists/named", 256),
        ("/login/", 8),
        ("/admin/login/", 8),
        ("/admin/pooling/brokeraccount/1/change/", 256),
        ("/admin/streaming/watchlist/1/change/", 2560),
        ("/metrics", 256),
        ("/status/", 256),
        ("*", 256),
    ],
)
async def test_each_path_has_its_bound(
    path: str, most_kib: int, method: str, is_told: bool
) -> None:
    """By default; a byte more is refused, whatever the method and however it is sent."""
    refused: list[int] = []
    bounded = with_bounded_bodies(
        all_sizes, limits=EdgeLimits(), on_refused=lambda: refused.append(1)
    )
    for size, expected in ((most_kib * KIB, 200), (most_kib * KIB + 1, 413)):
        scope = post(path, declared=b"%d" % size if is_told else None, method=method)
        status, *_ = await answer(bounded, scope, [bytes(size - 1), b"x"])
        assert status == expected, size
    assert len(refused) == 1


def test_each_row_of_the_table_is_of_a_limit_of_its_own() -> None:
    limits = EdgeLimits(
        api_body_bytes=1, form_body_bytes=2, upload_body_bytes=3, login_body_bytes=4
    )
    assert [most for _, most in body_bounds(limits)] == [3, 2, 1, 4, 4, 2]
    assert [prefix for prefix, _ in body_bounds(limits)[3:5]] == [
        reverse(settings.LOGIN_URL),
        reverse("admin:login"),
    ]
    assert body_bounds(limits)[0][0] == reverse("admin:streaming_watchlist_changelist")
    assert body_bounds(limits)[1][0] == reverse("api-watchlists")


def test_the_largest_list_that_there_is_fits() -> None:
    """Of names as exchanges have them; and in the admin as a browser sends any that is stored."""
    limits = EdgeLimits()
    named = [{"exchange": "NSE", "symbol": "X" * 64}] * MAX_WATCHLIST_ITEMS
    assert len(json.dumps({"name": "n" * 64, "symbols": named})) < limits.form_body_bytes
    worst = [{"exchange": "\u20b9" * 64, "symbol": "\u20b9" * 64}] * MAX_WATCHLIST_ITEMS
    # As a form has it, each of six characters as three.
    assert 3 * len(json.dumps(worst)) < limits.upload_body_bytes


@pytest.mark.parametrize(("size", "count"), [(10, 0), (3_000_000, 1)])
async def test_what_is_refused_is_counted_at_the_edge(size: int, count: int) -> None:
    """The application that is served counts where ``/metrics`` looks."""
    before = gateway.edge.refused[Refusal.BODY_BYTES]
    scope = post("/livez", declared=b"%d" % size)
    status, *_ = await answer(application, scope, [bytes(10)])
    assert (status == 413) == bool(count)
    assert gateway.edge.refused[Refusal.BODY_BYTES] - before == count
