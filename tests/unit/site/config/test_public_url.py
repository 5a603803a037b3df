"""``PUBLIC_URL``: which ones can be used, and what becomes of requests in clear."""

from __future__ import annotations

import pytest

from openalgo_site.config.public_url import InClear, answer_in_clear, parse_public_url

YEAR = 31_536_000


@pytest.mark.parametrize(
    ("text", "origin", "host", "hsts_seconds"),
    [
        ("https://ticks.example.com", "https://ticks.example.com", "ticks.example.com", YEAR),
        ("https://Ticks.Example.com:443/", "https://ticks.example.com", "ticks.example.com", YEAR),
        ("https://example.com:8443", "https://example.com:8443", "example.com", YEAR),
        ("https://[fd00::7]:8443", "https://[fd00::7]:8443", "[fd00::7]", YEAR),
        ("https://192.0.2.7", "https://192.0.2.7", "192.0.2.7", YEAR),
        ("https://localhost:8443", "https://localhost:8443", "localhost", 0),
        ("https://127.0.0.1", "https://127.0.0.1", "127.0.0.1", 0),
        ("http://intranet:80", "http://intranet", "intranet", 0),
        ("http://intranet:8000", "http://intranet:8000", "intranet", 0),
    ],
)
def test_an_address_is_taken_apart(text: str, origin: str, host: str, hsts_seconds: int) -> None:
    public = parse_public_url(text)
    assert public is not None
    assert (public.origin, public.host, public.hsts_seconds) == (origin, host, hsts_seconds)
    assert public.is_secure is text.startswith("https")


def test_none_is_none() -> None:
    assert parse_public_url("") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ticks.example.com", "scheme and host"),
        ("wss://ticks.example.com", "scheme and host"),
        ("https://", "scheme and host"),
        ("https://ticks.example.com:0", "scheme and host"),
        ("https://ticks.example.com:99999", "range"),
        ("https://[fd00::7", "IPv6"),
        ("https://ticks.example.com/tick/", "below a path"),
        ("https://user@ticks.example.com", "nothing behind"),
        ("https://ticks.example.com?x=1", "nothing behind"),
        ("https://ticks.example.com#x", "nothing behind"),
        ("https://täglich.example", "xn--"),
        ("https://*.example.com", "one host"),
    ],
)
def test_what_is_none_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_public_url(text)


@pytest.mark.parametrize(
    ("path", "address", "proto", "expected"),
    [
        ("/", "192.0.2.7", "http", InClear.MOVE),  # a proxy's port without TLS
        ("/", "127.0.0.1", "http", InClear.MOVE),  # the same, from its own machine
        ("/admin/login/", "192.0.2.7", None, InClear.MOVE),  # past the proxy
        ("/static/streaming/site.css", "192.0.2.7", None, InClear.MOVE),
        ("/api/pools", "192.0.2.7", None, InClear.REFUSE),
        ("/api/pools", "127.0.0.1", "http", InClear.REFUSE),
        ("/api/pools", "127.0.0.1", None, InClear.SERVE),  # a program on this machine
        ("/", "::1", None, InClear.SERVE),
        ("/", "::ffff:127.0.0.1", None, InClear.SERVE),
        ("/", "172.17.0.1", "https", InClear.SERVE),  # a proxy that is not trusted: no circle
        ("/", "172.17.0.1", " HTTPS ", InClear.SERVE),
        ("/livez", "192.0.2.7", None, InClear.SERVE),
        ("/readyz", "192.0.2.7", "http", InClear.SERVE),
        ("/metrics", "192.0.2.7", None, InClear.SERVE),
        ("/metrics/", "192.0.2.7", None, InClear.MOVE),
        ("/", "", None, InClear.MOVE),
        ("/", "not an address", None, InClear.MOVE),
    ],
)
def test_what_becomes_of_a_request_in_clear(
    path: str, address: str, proto: str | None, expected: InClear
) -> None:
    assert answer_in_clear(path, address, proto) is expected
