"""Who may be given a credential."""

from __future__ import annotations

import pytest

from brokers.endpoints.hosts import check_host, destination, kept_credentials, may_redirect
from brokers.exceptions import BrokerConfigError

OWN = ("wss://ws.broker.example/feed",)


def check(endpoint: str, further: str = "") -> None:
    check_host(endpoint, label="Broker", own=OWN, further=further)


@pytest.mark.parametrize(
    "endpoint",
    [
        "wss://ws.broker.example/other",
        "wss://WS.broker.example:8443/",
        "ws://127.0.0.1:9010",
        "ws://[::1]:9010",
        "wss://localhost/",
        "wss://mine.example",
        "wss://10.0.0.9:1/",
    ],
)
def test_the_brokers_own_this_machine_and_what_was_allowed(endpoint: str) -> None:
    check(endpoint, "mine.example, 10.0.0.9")


@pytest.mark.parametrize(
    "endpoint",
    [
        "wss://elsewhere.example/feed",
        "wss://ws.broker.example.elsewhere.example/",
        "wss://evil-ws.broker.example/",
        "wss://ws.broker.example./",
        "wss://10.0.0.9/",
        "wss://127.0.0.1.elsewhere.example/",
        "wss://elsewhere.example/?ws.broker.example",
    ],
)
def test_any_other_host_is_refused_and_the_setting_named(endpoint: str) -> None:
    with pytest.raises(BrokerConfigError, match="BROKER_HOSTS"):
        check(endpoint, "mine.example")


@pytest.mark.parametrize("endpoint", ["ws://ws.broker.example/feed", "ws://mine.example/"])
def test_a_credential_leaves_this_machine_over_tls_only(endpoint: str) -> None:
    with pytest.raises(BrokerConfigError, match="write wss://"):
        check(endpoint, "mine.example")


def test_without_a_credential_any_host_may_be_named_but_with_tls() -> None:
    check_host("wss://any.example/", label="Broker", own=OWN, further="", is_public=True)
    with pytest.raises(BrokerConfigError, match="write wss://"):
        check_host("ws://any.example/", label="Broker", own=OWN, further="", is_public=True)


@pytest.mark.parametrize(
    ("before", "after", "is_same"),
    [
        ("", "wss://ws.broker.example/other", True),
        ("ws://127.0.0.1:1/a", "ws://127.0.0.1:1/b", True),
        ("wss://mine.example", "wss://mine.example:443/x", True),
        ("", "ws://127.0.0.1:1", False),
        ("ws://127.0.0.1:1", "ws://127.0.0.1:2", False),
        ("wss://mine.example", "wss://other.example", False),
        ("wss://mine.example", "", False),
        ("", "wss://[", False),
    ],
)
def test_an_account_leads_elsewhere_by_host_and_port(
    before: str, after: str, is_same: bool
) -> None:
    assert (destination("b", before, OWN) == destination("b", after, OWN)) is is_same
    assert destination("b", after, OWN) != destination("other", after, OWN)


def test_of_a_credential_only_what_was_entered_since_is_kept() -> None:
    stored = {"api_key": "x1", "access_token": "y1"}
    assert kept_credentials(stored, stored) == {}
    assert kept_credentials(stored, stored | {"access_token": "y2"}) == {"access_token": "y2"}


@pytest.mark.parametrize(
    ("url", "target", "may"),
    [
        ("wss://api.b.example/x", "wss://api.b.example:9/y", True),
        ("wss://api.b.example/x", "wss://feeder.b.example/y", True),
        ("ws://127.0.0.1:1/", "ws://127.0.0.1:2/", True),
        ("ws://127.0.0.1:1/", "ws://localhost:2/", True),
        ("wss://api.b.example/x", "ws://api.b.example/x", False),
        ("wss://api.b.example/x", "wss://b.example.elsewhere.example/", False),
        ("wss://api.b.example/x", "wss://evilb.example/", False),
        ("wss://api.b.example/x", "wss://127.0.0.1/", False),
        ("ws://127.0.0.1:1/", "ws://feeder.b.example/", False),
        ("wss://api.b.example/x", "wss://[", False),
    ],
)
def test_a_redirect_stays_with_the_broker(url: str, target: str, may: bool) -> None:
    assert may_redirect(url, target, domain="b.example") is may
    if "feeder" in target:
        assert not may_redirect(url, target, domain="")
