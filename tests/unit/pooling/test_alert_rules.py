"""What is told, in which words, and to which addresses."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC

import pytest

from pooling.alerts.addresses import WebhookUrl
from pooling.alerts.debounce import Debouncer, PoolNow
from pooling.alerts.message import Alert, email_text, signature, webhook_body
from pooling.exceptions import AlertRefusedError
from pooling.operations.pool_state import PoolState

LIVE, IDLE, STALE, AUTH, CLOSED, PAUSED = (
    PoolState.LIVE,
    PoolState.IDLE,
    PoolState.STALE,
    PoolState.LOGIN_NEEDED,
    PoolState.CLOSED,
    PoolState.PAUSED,
)
ALERT = Alert(
    event_id="e1",
    pool_id="7",
    user="asha",
    broker="zerodha",
    label="main",
    state=AUTH,
    previous=LIVE,
    reason="the broker refused the access token",
    since_ms=1_767_600_000_123,
)


def state(state: PoolState, pool_id: str = "7") -> PoolNow:
    return PoolNow(pool_id=pool_id, state=state, reason="because", since_ms=5)


def told(*seen: tuple[float, PoolState], hold: float = 10.0) -> list[tuple[float, str, str]]:
    """Return (when, before, after) of what is told of one pool."""
    debouncer = Debouncer(hold_seconds=hold)
    return [
        (now, change.previous.value, change.pool.state.value)
        for now, seen_state in seen
        for change in debouncer.observe([state(seen_state)], now)
    ]


def test_a_change_is_told_once_it_has_lasted() -> None:
    assert told((0, LIVE), (1, STALE), (10.9, STALE), (11, STALE), (60, STALE)) == [
        (11, "live", "stale")
    ]


def test_a_change_that_is_taken_back_is_not_told() -> None:
    assert told((0, LIVE), (1, STALE), (9, LIVE), (10, STALE), (19, STALE)) == []


def test_wandering_among_troubles_is_told_with_the_last() -> None:
    assert told((0, LIVE), (1, STALE), (6, AUTH), (11, STALE)) == [(11, "live", "stale")]


def test_a_recovery_is_told_and_has_to_last_too() -> None:
    seen = ((0, STALE), (10, STALE), (11, LIVE), (15, STALE), (20, LIVE), (30, LIVE))
    assert told(*seen) == [(10, "live", "stale"), (30, "stale", "live")]


def test_a_worker_that_starts_tells_trouble_and_no_pause() -> None:
    assert told((0, AUTH), (10, AUTH)) == [(10, "live", "login needed")]
    for shut in (CLOSED, PAUSED):
        assert told((0, shut), (10, shut), (20, LIVE), (30, LIVE)) == [(30, shut, "live")]


def test_clients_that_come_and_go_are_no_news() -> None:
    assert told((0, IDLE), (10, IDLE), (20, LIVE), (40, LIVE), (60, IDLE), (80, IDLE)) == []
    assert told((0, LIVE), (5, IDLE), (10, AUTH), (20, AUTH)) == [(20, "idle", "login needed")]
    assert told((0, AUTH), (10, AUTH), (11, IDLE), (15, LIVE), (21, IDLE)) == [
        (10, "live", "login needed"),
        (21, "login needed", "idle"),
    ]


def test_without_a_hold_each_change_is_told() -> None:
    assert len(told((0, LIVE), (0, STALE), (0, LIVE), hold=0.0)) == 2


def test_pools_do_not_share_their_holds_and_gone_ones_are_forgotten() -> None:
    debouncer = Debouncer(hold_seconds=10)
    debouncer.observe([state(STALE, "1"), state(LIVE, "2")], 0)
    debouncer.observe([state(STALE, "2")], 5)
    (change,) = debouncer.observe([state(STALE, "1"), state(STALE, "2")], 15)
    assert change.pool.pool_id == "2"
    with pytest.raises(ValueError, match="negative"):
        Debouncer(hold_seconds=-1)


def test_a_program_gets_json_with_a_signature_that_it_can_check() -> None:
    body = webhook_body(ALERT)
    found = json.loads(body)
    assert found["pool"] == {"id": "7", "user": "asha", "broker": "zerodha", "label": "main"}
    assert (found["state"], found["previous"]) == ("login needed", "live")
    assert found["feed_status"] == "auth_required"
    assert found["since"] == "2026-01-05T08:00:00.123+00:00"
    assert found["text"].endswith("the broker refused the access token.")
    header = signature(body, "a-long-secret-1234", 1_767_600_001)
    digest = hmac.new(b"a-long-secret-1234", b"1767600001." + body, hashlib.sha256).hexdigest()
    assert header == f"t=1767600001,v1={digest}"


def test_a_person_gets_one_line_and_the_reason() -> None:
    subject, body = email_text(replace(ALERT, label="main\r\nBcc: eve@example.com"), UTC)
    assert subject == "TickPool: asha/zerodha/main Bcc: eve@example.com: login needed"
    assert "the broker refused the access token" in body
    assert "2026-01-05 08:00:00 UTC" in body
    _, well = email_text(replace(ALERT, state=LIVE, previous=AUTH), UTC)
    assert "refused" not in well
    assert "Before: login needed" in well


def test_who_has_to_log_in_is_told_where() -> None:
    site = "https://ticks.example.com"
    where = f"{site}/brokers/#account-{ALERT.pool_id}"
    assert f"Log in: {where}" in email_text(ALERT, UTC, site)[1]
    assert json.loads(webhook_body(ALERT, site))["url"] == where
    well = replace(ALERT, state=LIVE, previous=AUTH)
    assert "Log in:" not in email_text(well, UTC, site)[1]
    assert json.loads(webhook_body(well, site))["url"] == ""
    assert "Log in:" not in email_text(ALERT, UTC)[1]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.com/x", "https://hooks.example.com"),
        ("https:///x", "https://hooks.example.com"),
        ("nothing", "https://hooks.example.com"),
        ("https://example.com:99999/", "no URL"),
        ("https://[::1", "no URL"),
        ("http://example.com/x", "ALERT_WEBHOOK_HOSTS"),
        ("https://user:pass@example.com/", "user and password"),
        ("https://example.com/a b", "spaces"),
        ("https://example.com/\r\nX: y", "spaces"),
        ("https://exämple.com/", "ASCII"),
        ("https://127.0.0.1/", "not public"),
        ("https://[::1]/", "not public"),
        ("https://169.254.169.254/latest/meta-data", "not public"),
        (f"https://example.com/{'x' * 2000}", "https://hooks.example.com"),
    ],
)
def test_urls_that_are_refused_when_they_are_typed(url: str, says: str) -> None:
    with pytest.raises(AlertRefusedError, match=says):
        WebhookUrl.parse(url, ())


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.1.1",
        "192.168.1.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::a00:1",
    ],
)
def test_names_that_lead_inside_are_refused_when_they_are_looked_up(address: str) -> None:
    """One such address among public ones is enough: who answers the look-up chooses."""
    url = WebhookUrl.parse("https://hooks.example.com/x", ())
    with pytest.raises(AlertRefusedError, match="ALERT_WEBHOOK_HOSTS"):
        url.choose(["93.184.216.34", address])
    trusted = WebhookUrl.parse("https://hooks.example.com/x", ["HOOKS.example.com"])
    assert trusted.choose([address]) == address


def test_public_addresses_are_taken_as_they_are() -> None:
    url = WebhookUrl.parse("https://hooks.example.com:8443/a?b=c", ())
    assert url.choose(["2606:2800:220::1", "93.184.216.34"]) == "2606:2800:220::1"
    assert url.at("2606:2800:220::1") == "https://[2606:2800:220::1]:8443/a?b=c"
    assert url.origin == "https://hooks.example.com:8443"
    assert url.host_header == "hooks.example.com:8443"
    with pytest.raises(AlertRefusedError, match="no address"):
        url.choose([])


def test_a_host_is_allowed_on_one_port_or_on_all() -> None:
    assert WebhookUrl.parse("http://inside:8080/", ["inside:8080"]).is_trusted
    assert WebhookUrl.parse("http://[::1]:8080/", ["[::1]:8080"]).is_trusted
    with pytest.raises(AlertRefusedError):
        WebhookUrl.parse("http://inside:8081/", ["inside:8080"])
