"""A proxy that is not trusted is told: in the log once, and by the doctor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from openalgo_site.adapters.proxy_notes import ProxyNotes, proxy_notes
from openalgo_site.doctor.findings import Outcome
from openalgo_site.doctor.forwarded import forwarded
from streaming.addresses import parse_networks
from streaming.models import ClientConnection, GatewayStatus


@pytest.fixture
def gateway(transactional_db: None, data_dir: Path) -> GatewayStatus:
    data_dir.mkdir()
    now = timezone.now()
    return GatewayStatus.objects.create(gateway="g", host="h", pid=1, started=now, heartbeat=now)


def connect(gateway: GatewayStatus, name: str, address: str) -> None:
    ClientConnection.objects.create(
        gateway=gateway,
        client=name,
        user=User.objects.create_user(name),
        address=address,
        protocol="openalgo",
        connected=timezone.now(),
    )


def test_without_a_proxy_there_is_nothing_to_say(gateway: GatewayStatus) -> None:
    (found,) = forwarded()
    assert (found.outcome, found.message) == (Outcome.OK, "no proxy was seen")
    connect(gateway, "ann", "172.17.0.1")  # one user may well have one address
    (found,) = forwarded()
    assert found.outcome is Outcome.OK
    connect(gateway, "bob", "192.0.2.1")
    (found,) = forwarded()
    assert found.outcome is Outcome.OK


def test_a_trusted_one_is_named(gateway: GatewayStatus, settings: Any) -> None:
    settings.TRUSTED_PROXIES = parse_networks("10.0.0.0/8")
    (found,) = forwarded()
    assert found.message == "clients of 10.0.0.0/8 are known"


def test_one_that_names_clients_is_to_be_trusted(
    gateway: GatewayStatus, caplog: pytest.LogCaptureFixture
) -> None:
    notes = proxy_notes()
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            notes.note("172.17.0.1")
    assert len(caplog.records) == 1
    assert "TRUSTED_PROXIES" in caplog.text
    (found,) = forwarded()
    assert found.outcome is Outcome.WARNING
    assert "172.17.0.1" in found.message
    assert "TRUSTED_PROXIES=172.17.0.1" in found.mends


def test_one_that_names_nobody_shows_by_its_clients(gateway: GatewayStatus) -> None:
    connect(gateway, "ann", "172.17.0.1")
    connect(gateway, "bob", "172.17.0.1")
    (found,) = forwarded()
    assert found.outcome is Outcome.WARNING
    assert "all 2 users come from 172.17.0.1" in found.message
    assert "X-Forwarded-For" in found.mends


def test_notes_are_bounded_shared_and_forgotten(tmp_path: Path) -> None:
    now = [1_000_000.0]
    path = tmp_path / "seen.json"
    notes = ProxyNotes(path, clock=lambda: now[0])
    for number in range(100):
        notes.note(f"10.0.0.{number}")
    other = ProxyNotes(path, clock=lambda: now[0])
    assert len(other.seen()) == 20
    now[0] += 86_400
    assert other.seen() == {}
    path.write_text("[no json")
    assert other.seen() == {}
    path.unlink()
    ProxyNotes(tmp_path / "none" / "x", clock=lambda: now[0]).note("10.0.0.1")


def test_a_request_does_not_wait_for_the_file(tmp_path: Path) -> None:
    path, waiting = tmp_path / "proxies-seen.json", list[Callable[[], object]]()
    notes = ProxyNotes(path, run=waiting.append)
    notes.note("10.0.0.1")
    notes.note("10.0.0.2")
    assert not path.exists()
    for write in waiting:
        write()
    assert set(notes.seen()) == {"10.0.0.1", "10.0.0.2"}
