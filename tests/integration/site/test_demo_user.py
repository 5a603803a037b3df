"""The superuser that a demo makes, in an installation that others than this machine reach."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.db import connection

from openalgo_site.config.env import Environment
from openalgo_site.demo.installation import DemoAccount, prepare_database
from openalgo_site.demo.secrets_file import read_or_create
from openalgo_site.doctor import keys
from openalgo_site.doctor.findings import Finding, Outcome
from openalgo_site.login import demo_user as left_behind

pytestmark = pytest.mark.django_db

LOCAL = ["127.0.0.1", "localhost", "[::1]"]


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """A user that a real demo has made."""
    # The test's transaction lives in the connection that a demo closes behind it.
    monkeypatch.setattr(connection, "close", lambda: None)
    account = DemoAccount(broker="zerodha", endpoint="ws://127.0.0.1:9010", credentials={})
    prepare_database(read_or_create(tmp_path / "demo.json"), account, tmp_path / "credentials.key")
    return User.objects.get(username="demo")


@pytest.fixture(params=[("127.0.0.1", [*LOCAL, "ticks.example.com"]), ("0.0.0.0", LOCAL)])
def reachable(request: pytest.FixtureRequest, settings: Any) -> str:
    """Behind a proxy on this machine, or on an address of its own: where the gateway listens."""
    host, settings.ALLOWED_HOSTS = request.param
    settings.ENV = msgspec.structs.replace(Environment(), host=host)
    return str(host)


def told_by_check() -> list[str]:
    messages = run_checks(include_deployment_checks=True)
    return [str(each.id) for each in messages if each.id == "openalgo_site.E002"]


def outcomes(findings: Iterable[Finding]) -> list[Outcome]:
    return [each.outcome for each in findings]


@pytest.mark.usefixtures("demo")
def test_doctor_check_and_log_say_that_others_may_log_in(
    reachable: str, caplog: pytest.LogCaptureFixture
) -> None:
    (finding,) = keys.demo_user()
    assert finding.outcome is Outcome.FAILED
    assert "DATA_DIR" in finding.mends
    assert "delete `demo` in the admin" in finding.mends
    assert told_by_check() == ["openalgo_site.E002"]
    left_behind._log_demo_user()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert left_behind.is_for_others(reachable)


def test_a_demo_for_this_machine_only_is_well(demo: User, settings: Any) -> None:
    settings.ALLOWED_HOSTS = LOCAL
    settings.ENV = Environment()
    assert outcomes(keys.demo_user()) == [Outcome.OK]
    assert not left_behind.is_for_others("127.0.0.1")
    assert left_behind.is_for_others("192.0.2.1"), "as `rungateway --host` says"
    assert told_by_check() == ["openalgo_site.E002"], "whoever checks for a deployment deploys"


@pytest.mark.parametrize("ending", [{"is_active": False}, {"is_superuser": False}, None])
@pytest.mark.usefixtures("reachable")
def test_a_user_that_was_ended_is_none(demo: User, ending: dict[str, bool] | None) -> None:
    if ending is None:
        demo.delete()
    else:
        User.objects.filter(pk=demo.pk).update(**ending)
    assert outcomes(keys.demo_user()) == [Outcome.OK]
    assert told_by_check() == []


@pytest.mark.usefixtures("reachable")
def test_somebody_who_is_called_so_is_not_the_demo_s() -> None:
    User.objects.create_superuser("demo")
    assert outcomes(keys.demo_user()) == [Outcome.OK]
