"""What ``manage.py check`` finds in the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from openalgo_site.checks import check_debug
from openalgo_site.config.env import Environment
from pooling import conf
from pooling.checks import check_bus_address, check_key_file, check_limits
from pooling.keys.files import create_key_file


@pytest.fixture
def configured(settings: Any) -> Any:
    def configure(**values: Any) -> None:
        settings.ENV = msgspec.structs.replace(Environment(), **values)

    return configure


def ids(messages: Any) -> list[str]:
    assert all(message.hint or message.id == "pooling.E001" for message in messages)
    return [message.id for message in messages]


def test_a_fresh_installation_lacks_its_key_file_only(configured: Any) -> None:
    configured()
    assert ids(check_key_file()) == ["pooling.W001"]
    assert ids(check_limits()) == ids(check_bus_address()) == ids(check_debug()) == []


def test_a_key_file_must_be_private(data_dir: Path) -> None:
    path = data_dir / "credentials.key"
    create_key_file(path)
    assert ids(check_key_file()) == []
    path.chmod(0o644)
    assert ids(check_key_file()) == ["pooling.E001"]


def test_a_default_above_every_broker_is_pointed_out(configured: Any) -> None:
    largest = max(each.capabilities.symbols_per_connection for each in conf.broker_registry())
    configured(max_symbols_per_websocket=largest)
    assert ids(check_limits()) == []
    configured(max_symbols_per_websocket=largest + 1)
    assert ids(check_limits()) == ["pooling.W002"]


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("127.0.0.1", []),
        ("127.1.2.3", []),
        ("localhost", []),
        ("::1", []),
        ("[::1]", []),
        ("0.0.0.0", ["pooling.E003"]),
        ("192.0.2.7", ["pooling.E003"]),
        ("ticks.example.com", ["pooling.E003"]),
        ("*", ["pooling.E003"]),
    ],
)
def test_an_open_bus_needs_keys(configured: Any, host: str, found: list[str]) -> None:
    configured(zmq_host=host)
    assert ids(check_bus_address()) == found


def test_the_curve_key_file_must_exist(configured: Any, tmp_path: Path) -> None:
    file = tmp_path / "curve.key"
    configured(zmq_host="0.0.0.0", zmq_curve_key_file=str(file))
    assert ids(check_bus_address()) == ["pooling.E004"]
    file.write_text("keys")
    assert ids(check_bus_address()) == []


def test_debug_is_for_loopback_only(configured: Any, settings: Any) -> None:
    settings.DEBUG = True
    configured()
    assert ids(check_debug()) == []
    configured(host="0.0.0.0")
    assert ids(check_debug()) == ["openalgo_site.E001"]
