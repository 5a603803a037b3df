"""The rules by which Mozilla's HTTP Observatory grades a site, for one answer at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from http.cookies import Morsel

__all__ = ["broken_rules"]

HALF_A_YEAR_SECONDS = 15_768_000
REFERRER_POLICIES = {
    "no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin",
}  # fmt: skip
# What may be loaded from where. Whatever is not named falls back to default-src.
SOURCES = {
    "default-src": {"'none'"},
    "script-src": {"'self'"},
    "style-src": {"'self'"},
    "img-src": {"'self'"},
    "font-src": {"'self'"},
    "base-uri": {"'none'"},
    "form-action": {"'self'", "'none'"},
    "frame-ancestors": {"'none'"},
}
OF_EVERY_POLICY = {"default-src", "base-uri", "form-action", "frame-ancestors"}
DATA_BLOCKS = {"application/json", "text/html"}  # <script> with these runs nothing


def broken_rules(
    headers: Mapping[str, str], cookies: Mapping[str, Morsel[str]], body: str, *, host: str = ""
) -> list[str]:
    """Return what is wrong with an answer; nothing when all rules hold.

    Args:
        headers: of the answer.
        cookies: that it sets.
        body: of a page, "" for anything else.
        host: under which the site is public with TLS, "" where it is not.
    """
    given = {name.lower(): value for name, value in headers.items()}
    # One that is taken away has nothing in it that could travel.
    cookies = {name: each for name, each in cookies.items() if each.value or each["max-age"] != 0}
    return [
        *_policy(given.get("content-security-policy", ""), host),
        *_plain_headers(given),
        *(_transport(given, cookies) if host else ()),
        *_cookies(cookies),
        *_page(body),
    ]


def _policy(text: str, host: str) -> Iterator[str]:
    directives = {
        name: set(sources)
        for name, *sources in (each.split() for each in text.split(";") if each.strip())
    }
    for missing in sorted(OF_EVERY_POLICY - set(directives)):
        yield f"the policy has no {missing}"
    sockets = {f"wss://{host}"} if host else set()
    for name, sources in directives.items():
        if name == "connect-src":
            wrong = {each for each in sources - {"'self'"} - sockets if host or "ws" not in each}
        else:
            wrong = sources - SOURCES.get(name, set())
        if wrong:
            yield f"the policy's {name} has {', '.join(sorted(wrong))}"


def _plain_headers(given: Mapping[str, str]) -> Iterator[str]:
    for name, right in {
        "x-content-type-options": {"nosniff"},
        "x-frame-options": {"DENY"},
        "referrer-policy": REFERRER_POLICIES,
        "cross-origin-opener-policy": {"same-origin"},
        "cross-origin-resource-policy": {"same-origin"},
    }.items():
        if given.get(name) not in right:
            yield f"{name} is {given.get(name)!r}"
    permissions = given.get("permissions-policy", "")
    for feature in ("camera", "geolocation", "microphone", "payment", "usb"):
        if f"{feature}=()" not in permissions.split(", "):
            yield f"the permissions policy leaves {feature} open"
    if not all(re.fullmatch(r"[a-z-]+=\(\)", each) for each in permissions.split(", ")):
        yield f"the permissions policy allows something: {permissions!r}"
    for name in given:
        if name.startswith("access-control-"):
            yield f"{name} opens it to other sites"


def _transport(given: Mapping[str, str], cookies: Mapping[str, Morsel[str]]) -> Iterator[str]:
    found = re.search(r"max-age=(\d+)", given.get("strict-transport-security", ""))
    if found is None or int(found[1]) < HALF_A_YEAR_SECONDS:
        yield "browsers are not told to stay with TLS for half a year"
    for name, cookie in cookies.items():
        if not cookie["secure"]:
            yield f"the cookie {name} may travel in clear"


def _cookies(cookies: Mapping[str, Morsel[str]]) -> Iterator[str]:
    for name, cookie in cookies.items():
        if cookie["samesite"] not in ("Lax", "Strict"):
            yield f"the cookie {name} goes along with other sites' requests"
        # Scripts of the pages send this one back, which is what it is for.
        if name != "csrftoken" and not cookie["httponly"]:
            yield f"scripts can read the cookie {name}"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or "style" in given:
            self.found.append(f"a style stands in <{tag}>")
        if tag == "script" and "src" not in given and given.get("type") not in DATA_BLOCKS:
            self.found.append("a script stands in the page")
        self.found += [f"<{tag}> has {name}" for name in given if name.startswith("on")]
        for name in ("src", "action", "data"):
            if re.match(r"(https?:)?//", given.get(name) or ""):
                self.found.append(f"<{tag}> loads or sends to {given[name]}")
        if (given.get("href") or "").strip().lower().startswith("javascript:"):
            self.found.append(f"<{tag}> has a script for an address")


def _page(body: str) -> list[str]:
    page = _Page()
    page.feed(body)
    return page.found
