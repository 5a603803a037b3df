"""``manage.py pool``: settings of an account's broker are shown, set, exported and imported."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from pooling.models import BrokerAccount, PoolConfig, PoolEvent
from tests.integration.site.admin.admin_kit import make_status
from tests.integration.site.cli.test_pool_command import pool, pool_json, refused
from tests.support import eventually_sync


@pytest.fixture
def fyers(user: User) -> BrokerAccount:
    return BrokerAccount.objects.create(user=user, broker="fyers")


def stored(account: BrokerAccount) -> Any:
    return BrokerAccount.objects.get(pk=account.pk).broker_settings


def line_of(text: str, name: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return " ".join(lines[-1].split())


def test_show_lists_settings_with_what_is_allowed_and_marks_defaults(
    fyers: BrokerAccount,
) -> None:
    BrokerAccount.objects.update(broker_settings={"symbols": 9000})
    text = pool("show", fyers.pk)
    allowed = "a whole number from 200 to 200000"
    assert line_of(text, "symbols") == f"symbols 9000 default 5000 {allowed}"
    assert line_of(text, "acks") == "acks on default on or off"
    settings = {each["name"]: each for each in pool_json("show", fyers.pk)["settings"]}
    assert settings["symbols"]["value"] == 9000
    assert (settings["symbols"]["is_default"], settings["acks"]["is_default"]) == (False, True)


def test_set_setting_says_old_and_new_and_keeps_who_did_it(fyers: BrokerAccount) -> None:
    found = pool_json("set-setting", fyers.pk, "connections", "3")
    assert found["settings"] == {"connections": {"old": 1, "new": 3}}
    assert (found["saved"], found["applied"]) == (True, None)
    assert stored(fyers) == {"connections": 3}
    event = PoolEvent.objects.get()
    assert event.kind == "settings_changed"
    assert event.message.startswith("connections 1 → 3 by ")
    assert "Nothing to change" in pool("set-setting", fyers.pk, "connections", "3")
    assert PoolEvent.objects.count() == 1
    text = pool("set-setting", fyers.pk, "acks", "off")
    assert line_of(text, "acks") == "acks off default on on or off"
    assert "the pool's worker takes it up once it runs" in text
    pool("set-setting", fyers.pk, "connections", "default")
    assert stored(fyers) == {"acks": False}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("connections", "11", "Fyers: setting connections: a whole number from 1 to 10, not '11'"),
        ("speed", "1", "unknown setting 'speed'; known: symbols, connections,"),
        ("speed", "default", "unknown setting 'speed'; known: symbols, connections,"),
        ("lite_channel", "11", "lite_channel must be another one than channel, or 0"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    fyers: BrokerAccount, name: str, value: str, words: str
) -> None:
    code, sentence = refused("set-setting", fyers.pk, name, value)
    assert code == 2
    assert words in sentence
    assert stored(fyers) == {}


def test_a_limit_above_the_new_cap_is_named(fyers: BrokerAccount) -> None:
    BrokerAccount.objects.update(broker_settings={"connections": 3})
    PoolConfig.objects.create(account=fyers, max_connections=3)
    code, sentence = refused("set-setting", fyers.pk, "connections", "default")
    assert code == 2
    assert "max connections: Fyers allows at most 1 here" in sentence
    assert stored(fyers) == {"connections": 3}


def test_what_would_be_dropped_needs_a_yes(fyers: BrokerAccount) -> None:
    BrokerAccount.objects.update(broker_settings={"connections": 3})
    make_status(fyers, used=6000, symbols=3000, capacity=5000)
    lower = ("set-setting", fyers.pk, "symbols", "4000", "--wait", 0)
    code, sentence = refused(*lower)
    assert code == 2
    assert "2,000 of 6,000 in use would lose their place" in sentence
    assert stored(fyers) == {"connections": 3}
    assert pool_json(*lower, "--yes")["drops"] == 2000
    assert stored(fyers) == {"symbols": 4000, "connections": 3}


def test_set_setting_waits_for_the_worker_to_say_so(fyers: BrokerAccount) -> None:
    make_status(fyers, used=1, symbols=1, connections=1)
    PoolEvent.objects.create(account=fyers, kind="settings_applied", message="of before")

    def apply() -> None:
        try:
            eventually_sync(
                lambda: PoolEvent.objects.filter(kind="settings_changed").exists(), timeout=30
            )
            PoolEvent.objects.create(account=fyers, kind="settings_applied", message="now")
        finally:
            connection.close()

    worker = threading.Thread(target=apply)
    worker.start()
    found = pool_json("set-setting", fyers.pk, "acks", "off", "--wait", 30)
    worker.join()
    assert found["applied"] is True


def test_a_worker_that_does_not_follow_is_exit_1(fyers: BrokerAccount) -> None:
    make_status(fyers, used=1, symbols=1, connections=1)
    PoolEvent.objects.create(account=fyers, kind="settings_applied", message="of before")
    with pytest.raises(SystemExit) as ended:
        pool("set-setting", fyers.pk, "acks", "off", "--wait", 0.2)
    assert ended.value.code == 1
    assert stored(fyers) == {"acks": False}


def test_export_and_import_carry_settings(fyers: BrokerAccount, tmp_path: Path) -> None:
    BrokerAccount.objects.update(broker_settings={"symbols": 9000, "acks": False})
    file = tmp_path / "accounts.json"
    pool("export", "--output", file)
    content = json.loads(file.read_text())
    assert content["accounts"][0]["settings"] == {"symbols": 9000, "acks": False}
    assert pool_json("import", file)["unchanged"] == ["asha/fyers/main"]
    BrokerAccount.objects.all().delete()
    pool("import", file)
    assert BrokerAccount.objects.get().broker_settings == {"symbols": 9000, "acks": False}
    content["accounts"][0]["settings"] = {"acks": True, "connections": 2}
    content["accounts"][0]["limits"]["max_connections"] = 2
    file.write_text(json.dumps(content))
    assert pool_json("import", file)["changed"] == ["asha/fyers/main"]
    assert BrokerAccount.objects.get().broker_settings == {"connections": 2}
    content["accounts"][0]["settings"] = {"connections": 99}
    file.write_text(json.dumps(content))
    code, sentence = refused("import", file)
    assert code == 1
    assert "asha/fyers/main: Fyers: setting connections: a whole number from 1 to 10" in sentence
    del content["accounts"][0]["settings"]
    del content["accounts"][0]["limits"]
    file.write_text(json.dumps(content))
    assert pool_json("import", file)["changed"] == ["asha/fyers/main"]
    assert BrokerAccount.objects.get().broker_settings == {}
