"""Questions of a run to processes that it ends meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.soak.processes import answer_of


@contextmanager
def saying(words: bytes) -> Iterator[str]:
    """Serve one connection: these bytes, and the end. Yields the address."""

    def serve() -> None:
        link, _ = listener.accept()
        with link:
            link.recv(65_536)
            link.sendall(words)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, name="server that ends")
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        server.join()


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntickpool_tasks 4",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nback soon",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\ntickpool",
        b"HTT",
        b"",
    ],
    ids=["body", "refusal", "chunk", "status line", "nothing"],
)
def test_a_process_that_ends_within_its_answer_answers_nothing(words: bytes) -> None:
    """A process is killed whenever it is killed; whoever asks goes on."""
    with saying(words) as url:
        assert answer_of(url)[0] == 0
