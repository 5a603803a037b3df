"""What a refused client leaves in the log: a few lines a minute, none of them long."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client

from openalgo_site.config.logs import MOST_CHARS
from openalgo_site.config.repeated_lines import MOST_A_MINUTE, RepeatedLines
from openalgo_site.web import api_access
from openalgo_site.web.api_access import KeyGate
from openalgo_site.web.api_shares import ApiShares
from streaming.edge_limits import EdgeLimits
from streaming.models import ApiKey

pytestmark = pytest.mark.django_db

MANY = 50
Ask = Callable[[Client, str, int], int]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the handler of the configuration writes, within one minute."""
    handler, repeats = next(
        (handler, each)
        for handler in logging.getLogger("django").handlers
        for each in handler.filters
        if isinstance(each, RepeatedLines)
    )
    assert isinstance(handler, logging.StreamHandler)
    repeats._kinds.clear()
    monkeypatch.setattr(repeats, "_clock", lambda: 0.0)
    stream = io.StringIO()
    before = handler.setStream(stream)
    yield stream
    handler.setStream(before or handler.stream)
    repeats._kinds.clear()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key of a user who may ask once."""
    few = EdgeLimits(user_query_burst=1, user_queries_per_second=1e-6)
    monkeypatch.setattr(api_access, "KEY_GATE", KeyGate(per_minute=5))
    monkeypatch.setattr(api_access, "API_SHARES", ApiShares(limits=few))
    return ApiKey.objects.issue(User.objects.create_user("program"), "notebook")[1]


def over_its_share(client: Client, key: str, at: int) -> int:
    return client.get(f"/api/instruments?q={at}", headers={"X-API-KEY": key}).status_code


def wrong_key(client: Client, key: str, at: int) -> int:
    return client.get("/api/pools", headers={"X-API-KEY": f"{at}{key}"}).status_code


def lesser_key(client: Client, key: str, at: int) -> int:
    return client.put(f"/api/pools/{at}/credentials", headers={"X-API-KEY": key}).status_code


def unknown_path(client: Client, key: str, at: int) -> int:
    return client.get(f"/there-is-none/{at}/" + "x" * 20_000).status_code


def unknown_host(client: Client, key: str, at: int) -> int:
    return client.get("/login/", headers={"Host": f"{at}.example"}).status_code


@pytest.mark.parametrize(
    ("ask", "statuses"),
    [
        (over_its_share, {200, 429}),
        (wrong_key, {401, 429}),
        (lesser_key, {403}),
        (unknown_path, {404}),
        (unknown_host, {400}),
    ],
)
def test_a_client_that_is_refused_without_end_fills_no_disk(
    client: Client, key: str, written: io.StringIO, ask: Ask, statuses: set[int]
) -> None:
    seen = {ask(client, key, at) for at in range(MANY)}
    assert seen <= statuses
    assert min(seen - {200}) >= 400
    lines = written.getvalue().splitlines()
    assert 1 <= len(lines) <= MOST_A_MINUTE * len(seen - {200})
    assert max(map(len, lines)) < MOST_CHARS + 200
    assert key not in written.getvalue()
