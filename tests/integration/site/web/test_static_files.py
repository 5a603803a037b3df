"""Static files leave the gateway in portions, whole and closed, with nothing to warn of."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from whitenoise.responders import StaticFile

from openalgo_site.web.static_files import PORTION_BYTES, StaticFilesMiddleware

SCRIPT = "/static/streaming/js/main.js"
SIZE = 3 * PORTION_BYTES + 7


@pytest.fixture
def served(tmp_path: Path) -> StaticFile:
    """A file of a little more than three portions."""
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(range(256)) * (SIZE // 256 + 1))
    with path.open("r+b") as file:
        file.truncate(SIZE)
    return StaticFile(str(path), [("Content-Type", "application/octet-stream")])


def open_files(name: str) -> int:
    """Return how many descriptors of this process lead to a file of this name."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            found += link.readlink().name == name
    return found


async def test_a_file_leaves_in_portions_and_is_closed(served: StaticFile):
    """No answer is held in memory whole, and no file stays open behind it."""
    request = AsyncRequestFactory().get("/static/large.bin")
    response = StaticFilesMiddleware.serve(served, request)
    before = open_files("large.bin")
    parts = [part async for part in response]
    response.close()
    assert (before, open_files("large.bin")) == (1, 0)
    assert [len(part) for part in parts] == [PORTION_BYTES] * 3 + [7]
    assert b"".join(parts) == (bytes(range(256)) * (SIZE // 256 + 1))[:SIZE]
    assert response.headers["Content-Length"] == str(SIZE)


async def test_a_part_of_a_file_can_be_asked_for(served: StaticFile):
    """A range is answered with that range."""
    request = AsyncRequestFactory().get("/static/large.bin", headers={"Range": "bytes=256-511"})
    response = StaticFilesMiddleware.serve(served, request)
    assert response.status_code == 206
    assert b"".join([part async for part in response]) == bytes(range(256))
    response.close()


@pytest.mark.parametrize("method", ["get", "head"])
async def test_an_answer_without_a_body_warns_of_nothing(served: StaticFile, method: str):
    """Unchanged since the last time, or only the head asked for: the body is empty."""
    tag = served.etag if method == "get" else "another"
    request = getattr(AsyncRequestFactory(), method)("/", headers={"If-None-Match": tag})
    response = StaticFilesMiddleware.serve(served, request)
    assert response.status_code == (304 if method == "get" else 200)
    assert [part async for part in response] == []


def test_a_server_without_a_loop_gets_what_it_can_read(served: StaticFile):
    """Under WSGI the same file comes by an ordinary iterator."""
    response = StaticFilesMiddleware.serve(served, RequestFactory().get("/static/large.bin"))
    assert len(b"".join(response)) == SIZE
    response.close()


async def test_the_site_serves_its_scripts_by_both_kinds_of_client(async_client: AsyncClient):
    """The middleware in force is this one: warnings are errors here."""
    response = await async_client.get(SCRIPT)
    parts: Any = response  # the stubs do not know that an asynchronous client's can be iterated
    text = b"".join([part async for part in parts])
    assert response.status_code == 200
    assert text.startswith(b"/**")
    assert b"".join(Client().get(SCRIPT)) == text
