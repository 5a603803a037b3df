"""Bodies of any size from anybody: the gateway keeps none of what is too much."""

from __future__ import annotations

import msgspec
import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.core.handlers import asgi

from openalgo_site.asgi import application, gateway
from openalgo_site.bodies import with_bounded_bodies
from streaming.limits import Refusal

MOST = 100_000


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


async def answer(
    parts: list[bytes], *, path: str = "/livez", declared: int | None = None
) -> tuple[int, dict[bytes, bytes], bytes, int]:
    """Post a body in parts; returns status, headers, body and how many parts were taken."""
    headers = [(b"host", b"127.0.0.1")]
    if declared is not None:
        headers.append((b"content-length", b"%d" % declared))
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8000),
    }
    application = with_bounded_bodies(get_asgi_application(), most_bytes=MOST)
    told = ApplicationCommunicator(application, scope)
    for at, part in enumerate(parts):
        more = at < len(parts) - 1
        await told.send_input({"type": "http.request", "body": part, "more_body": more})
    start = await told.receive_output(5)
    end = await told.receive_output(5)
    await told.wait(5)
    return start["status"], dict(start["headers"]), end["body"], told.input_queue.qsize()


async def test_a_body_that_never_ends_is_refused_and_not_kept(kept: Kept) -> None:
    status, headers, _, left = await answer([b"x" * 40_000] * 50)
    assert (status, headers[b"connection"], left) == (413, b"close", 47)
    assert kept.bytes <= MOST


async def test_a_length_that_is_too_much_is_refused_before_anything_is_read(kept: Kept) -> None:
    status, _, body, left = await answer([b"x"], path="/api/v1/watchlists", declared=MOST + 1)
    assert (status, left, kept.bytes) == (413, 1, 0)
    assert msgspec.json.decode(body)["message"] == "The body is larger than 100,000 bytes."


@pytest.mark.django_db(transaction=True)
async def test_what_is_just_not_too_much_comes_through(kept: Kept) -> None:
    status, *_ = await answer([b"x" * (MOST // 2)] * 2)
    assert status != 413
    assert kept.bytes == MOST


@pytest.mark.parametrize(("size", "count"), [(10, 0), (3_000_000, 1)])
async def test_what_is_refused_is_counted_at_the_edge(size: int, count: int) -> None:
    """The application that is served counts where ``/metrics`` looks."""
    scope = {
        "type": "http", "method": "POST", "path": "/livez", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"%d" % size)],
        "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    before = gateway.edge.refused[Refusal.BODY_BYTES]
    told = ApplicationCommunicator(application, scope)
    await told.send_input({"type": "http.request", "body": bytes(10), "more_body": False})
    assert (await told.receive_output(30))["type"] == "http.response.start"
    await told.wait(30)
    assert gateway.edge.refused[Refusal.BODY_BYTES] - before == count
