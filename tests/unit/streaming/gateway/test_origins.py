"""Which pages may open a browser socket."""

from __future__ import annotations

import pytest

from streaming.gateway.origins import is_allowed_origin


@pytest.mark.parametrize(
    ("origin", "is_secure", "host", "allowed"),
    [
        ("http://site.example:8000", False, "site.example:8000", True),
        ("http://SITE.example:8000", False, "site.example:8000", True),
        ("http://site.example", False, "site.example:80", True),
        ("https://site.example", True, "site.example", True),
        ("http://[::1]:8000", False, "[::1]:8000", True),
        ("https://site.example", False, "site.example", False),
        ("http://site.example", True, "site.example", False),
        ("http://site.example:8001", False, "site.example:8000", False),
        ("http://evil.example:8000", False, "site.example:8000", False),
        ("http://site.example.evil.example:8000", False, "site.example:8000", False),
        ("http://evil@site.example:8000", False, "site.example:8000", False),
        ("http://site.example:8000/path", False, "site.example:8000", False),
        ("null", False, "site.example:8000", False),
        ("", False, "site.example:8000", False),
        (None, False, "site.example:8000", False),
        ("http://site.example:99999", False, "site.example:8000", False),
        ("file://site.example", False, "site.example", False),
        ("http://site.example", False, None, False),
    ],
)
def test_only_the_full_origin_of_the_site_counts(
    origin: str | None, is_secure: bool, host: str | None, allowed: bool
) -> None:
    assert is_allowed_origin(origin, is_secure=is_secure, host=host) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://front.example", True),
        ("https://a.sub.example", True),
        ("https://sub.example", False),
        ("https://evilsub.example", False),
        ("http://front.example", False),
        ("https://front.example:444", False),
    ],
)
def test_trusted_origins_are_allowed_beside_it(origin: str, allowed: bool) -> None:
    trusted = ["https://front.example", "https://*.sub.example"]
    assert (
        is_allowed_origin(origin, is_secure=False, host="site.example", trusted=trusted) is allowed
    )
