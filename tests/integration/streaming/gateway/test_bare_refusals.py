"""What the server answers before any application was asked has the headers of every answer."""

from __future__ import annotations

from email.parser import BytesParser

import pytest

from tests.integration.site.web.header_rules import broken_rules
from tests.integration.streaming.edge.test_bounded_requests import GET, Line, measuring_site
from tests.integration.streaming.edge_kit import MakeEdge


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01 is no HTTP\r\n\r\n", 400),
        (GET + b"X: " + b"x" * 50_000, 431),
    ],
)
async def test_a_refusal_of_the_server_itself(
    make_edge: MakeEdge, request_bytes: bytes, status: int
) -> None:
    line = await Line.open(await make_edge(http=measuring_site))
    line.say(request_bytes)
    head, _, body = (await line.answer()).partition(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    assert first.split()[1] == str(status).encode()
    headers = BytesParser().parsebytes(rest)
    assert headers["Content-Type"] == "text/plain"
    assert int(headers["Content-Length"]) == len(body)
    assert broken_rules(dict(headers.items()), {}, "") == []
