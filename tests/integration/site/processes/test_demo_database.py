"""What a demo does to a database that somebody runs for real: nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection

from openalgo_site.demo.installation import DemoAccount, RealAccountsError, prepare_database
from openalgo_site.demo.secrets_file import read_or_create
from pooling.models import BrokerAccount

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def keep_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's transaction lives in the connection that a demo closes behind it."""
    monkeypatch.setattr(connection, "close", lambda: None)


def prepare(tmp_path: Path, endpoint: str = "ws://127.0.0.1:9010") -> None:
    prepare_database(
        read_or_create(tmp_path / "demo.json"),
        DemoAccount(broker="zerodha", endpoint=endpoint, credentials={}),
        tmp_path / "credentials.key",
    )


@pytest.mark.parametrize("endpoint", ["", "wss://ws.kite.trade", "wss://relay.example.com/"])
def test_a_demo_leaves_a_database_with_real_accounts_alone(
    user: User, tmp_path: Path, endpoint: str
) -> None:
    """Tokens of the local exchange mean other instruments to the broker itself."""
    BrokerAccount.objects.create(user=user, broker="zerodha", label="main", endpoint=endpoint)
    with pytest.raises(RealAccountsError, match=r"DATA_DIR=\S+ make run"):
        prepare(tmp_path)
    assert not User.objects.filter(username="demo").exists()
    assert BrokerAccount.objects.count() == 1


@pytest.mark.parametrize(
    ("broker", "endpoint"), [("zerodha", "ws://127.0.0.1:9010"), ("binance", "")]
)
def test_accounts_that_a_demo_does_not_harm_are_no_hindrance(
    user: User, tmp_path: Path, broker: str, endpoint: str
) -> None:
    BrokerAccount.objects.create(user=user, broker=broker, label="mine", endpoint=endpoint)
    prepare(tmp_path)
    prepare(tmp_path)
    assert BrokerAccount.objects.filter(label="demo", enabled=True).count() == 1
