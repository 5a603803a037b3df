"""URLs of feeds, out of what an account has as its endpoint. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

__all__ = ["feed_url"]


def feed_url(endpoint: str, path: str = "/", query: str = "") -> str:
    """Return an endpoint with the feed's path, unless it has one of its own, and with its query.

    Args:
        endpoint: with or without a path and a query; a fragment is left out.
        path: of the broker's own feed.
        query: encoded; it comes behind what the endpoint has already.
    """
    url = urlsplit(endpoint)
    own = path if url.path in ("", "/") else url.path
    return urlunsplit((url.scheme, url.netloc, own, "&".join(filter(None, (url.query, query))), ""))
