"""Whose address counts as whose."""

from __future__ import annotations

import ipaddress

import pytest

from streaming.addresses import address_group, is_private, parse_networks
from streaming.edge_limits import AuthFailures, ConnectionCounter


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_an_address_counts_as_its_network(address: str, group: str) -> None:
    assert address_group(address) == group


def test_a_network_of_ipv6_has_one_limit() -> None:
    failures = AuthFailures(per_minute=1)
    assert not failures.record("2001:db8::1", b"1", 0.0)
    assert failures.record("2001:db8::2", b"2", 0.0)
    assert failures.retry_after_seconds("2001:db8::3", 0.0) == 60
    assert not failures.record("2001:db8:0:1::1", b"3", 0.0)
    counter = ConnectionCounter(max_total=9, max_per_address=1)
    assert counter.enter("2001:db8::1")
    assert not counter.enter("2001:db8::2")
    counter.leave("2001:db8::1")
    assert counter.enter("2001:db8::2")


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("172.17.0.1", True),
        ("fd00::1", True),
        ("169.254.0.1", True),
        ("8.8.8.8", False),
        ("2606:4700::1", False),
        ("nonsense", False),
    ],
)
def test_which_addresses_are_inside(address: str, inside: bool) -> None:
    assert is_private(address) is inside


def test_networks_are_parsed() -> None:
    assert parse_networks("") == []
    assert parse_networks(" 127.0.0.1, 10.0.0.0/8,fd00::/8 ,") == [
        ipaddress.ip_network("127.0.0.1/32"),
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("fd00::/8"),
    ]


@pytest.mark.parametrize("text", ["*", "nginx", "10.0.0.1/8", "0.0.0.0/0", "127.0.0.1 10.0.0.1"])
def test_what_is_no_network_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address|is everybody"):
        parse_networks(text)
