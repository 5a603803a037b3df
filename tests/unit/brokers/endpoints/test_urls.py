"""URLs of feeds: an endpoint's own path and query stay, the broker's are added."""

from __future__ import annotations

import pytest

from brokers.endpoints.urls import feed_url


@pytest.mark.parametrize(
    ("endpoint", "path", "query", "url"),
    [
        ("wss://x.test", "/", "", "wss://x.test/"),
        ("wss://x.test/", "/feed", "", "wss://x.test/feed"),
        ("wss://x.test:1/own/", "/feed", "", "wss://x.test:1/own/"),
        ("wss://x.test", "/feed", "a=1", "wss://x.test/feed?a=1"),
        ("wss://x.test/own?b=2&c=3", "/feed", "a=1", "wss://x.test/own?b=2&c=3&a=1"),
        ("wss://x.test?b=2#there", "/feed", "", "wss://x.test/feed?b=2"),
        ("ws://[::1]:9010", "/", "a=1", "ws://[::1]:9010/?a=1"),
    ],
)
def test_a_feed_is_where_its_endpoint_says(endpoint: str, path: str, query: str, url: str) -> None:
    assert feed_url(endpoint, path, query) == url
