"""Hosts and ports as text, with the brackets of IPv6 in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from brokers.endpoints.addresses import bare_host, host_to_connect, is_loopback, netloc

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("brokers", "pooling", "streaming", "openalgo_site")


@pytest.mark.parametrize(
    ("host", "port", "written"),
    [
        ("127.0.0.1", 80, "127.0.0.1:80"),
        ("::1", 8000, "[::1]:8000"),
        ("[::1]", 8000, "[::1]:8000"),
        ("feed.example", None, "feed.example"),
        ("2001:db8::1", None, "[2001:db8::1]"),
        ("", 5, ":5"),
    ],
)
def test_an_ipv6_address_stands_in_brackets(host: str, port: int | None, written: str) -> None:
    assert netloc(host, port) == written
    assert netloc(bare_host(host), port) == written


@pytest.mark.parametrize(
    ("listens", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("::", "::1"), ("[::]", "::1"),
     ("::1", "::1"), ("[::1]", "::1"), ("10.0.0.5", "10.0.0.5"), ("box.lan", "box.lan")],
)  # fmt: skip
def test_where_a_server_is_reached_from_its_own_machine(listens: str, reached: str) -> None:
    assert host_to_connect(listens) == reached


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False),
     ("localhost.example", False), ("", False)],
)  # fmt: skip
def test_only_loopback_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def _by_hand(source: str) -> list[int]:
    """Return the lines where an f-string writes ``{…host}:`` or ``://{…host}``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for before, part, after in zip(
            [None, *node.values], node.values, [*node.values[1:], None], strict=False
        ):
            if not isinstance(part, ast.FormattedValue):
                continue
            name = ast.unparse(part.value)
            if not name.lower().endswith(("host", "hostname", "address")):
                continue
            behind = after.value if isinstance(after, ast.Constant) else ""
            ahead = before.value if isinstance(before, ast.Constant) else ""
            is_port_next = str(behind) == ":"
            if is_port_next or str(ahead).endswith("://"):
                found.append(part.lineno)
    return found


def test_the_search_for_addresses_by_hand_finds_them() -> None:
    assert _by_hand('f"http://{env.host}:{port}"')
    assert _by_hand('f"{host}:{port}"')
    assert not _by_hand('f"http://{netloc(host, port)}/x {host}: gone"')


# ``Host`` as a browser wrote it has its brackets; a machine's name never has colons.
EXEMPT = {
    "streaming/gateway/origins.py",
    "streaming/edge/security.py",
    "streaming/models/gateways.py",
}


def test_no_address_is_put_together_by_hand() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.relative_to(ROOT).as_posix() not in EXEMPT and path.name != "addresses.py"
        for line in _by_hand(path.read_text())
    ]
    assert found == []
