"""What the demo decides, without a process."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from brokers.registry import default_registry
from brokers.simulator.runner import MARKET_EXCHANGES
from openalgo_site.config.env import Environment
from openalgo_site.demo.announcement import Processes, Ready, announce
from openalgo_site.demo.installation import DemoAccount
from openalgo_site.demo.main import DemoChoice
from openalgo_site.demo.secrets_file import DemoFileError, new_secrets, read_or_create
from openalgo_site.processes.lines import LineSplitter
from openalgo_site.processes.restart_policy import RestartPolicy, describe_exit
from openalgo_site.processes.stopping import StopAction, StopPolicy


def delays_of(policy: RestartPolicy, *lives: float, pause: float = 0.0) -> list[float]:
    """Return the delays after children that lived so long, each started when it was due."""
    now, delays = 0.0, []
    for lived in lives:
        now += lived + pause
        delays.append(policy.delay_after(lived, now))
        now += delays[-1]
    return delays


def test_what_dies_now_and_then_is_back_within_two_seconds() -> None:
    """The first five deaths within five minutes; what goes on dying waits longer and longer."""
    assert delays_of(RestartPolicy(), *[5.0] * 6) == [0.5, 1, 2, 2, 2, 4]
    assert delays_of(RestartPolicy(), *[0.1] * 10) == [0.5, 1, 2, 2, 2, 4, 8, 16, 30, 30]


def test_deaths_of_more_than_five_minutes_ago_do_not_count() -> None:
    delays = delays_of(RestartPolicy(healthy_seconds=1000), *[0.0] * 20, pause=61.0)
    assert max(delays) == 2


def test_a_healthy_life_makes_up_for_all_deaths_before_it() -> None:
    delays = delays_of(RestartPolicy(), 0, 0, 0, 19.9, 20.0, 0, 0)
    assert delays == [0.5, 1, 2, 2, 0.5, 1, 2]
    assert delays_of(RestartPolicy(), *[0.0] * 9, 25.0)[-2:] == [30, 0.5]


def test_restart_policy_survives_very_many_deaths() -> None:
    policy = RestartPolicy()
    assert {policy.delay_after(0, float(now)) for now in range(3000)} == {0.5, 1, 2, 4, 8, 16, 30}


@pytest.mark.parametrize(
    "nonsense",
    [
        {"base_seconds": 3, "prompt_cap_seconds": 2},
        {"cap_seconds": 1},
        {"base_seconds": 0},
        {"prompt_deaths": 0},
        {"window_seconds": 0},
    ],
)
def test_restart_policy_refuses_nonsense(nonsense: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RestartPolicy(**nonsense)


def test_one_ctrl_c_that_arrives_twice_is_one_wish() -> None:
    policy = StopPolicy(repeat_seconds=1)
    actions = [policy.on_signal(now) for now in (100.0, 100.2, 100.99, 101.0)]
    assert actions == [
        StopAction.DRAIN,
        StopAction.IGNORE,
        StopAction.IGNORE,
        StopAction.FORCE,
    ]


def test_an_end_is_described_for_people() -> None:
    assert describe_exit(78) == "ended with code 78"
    assert describe_exit(-signal.SIGKILL) == "was killed by SIGKILL"
    assert describe_exit(-120) == "was killed by signal 120"


def test_lines_are_whole_whatever_the_pieces() -> None:
    splitter = LineSplitter()
    pieces = [b"one\ntw", b"o\r\nth", b"", b"ree \xff"]
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    assert [*lines, *splitter.end()] == ["one", "two", "three �"]
    assert splitter.end() == []


def test_a_line_without_end_is_cut() -> None:
    splitter = LineSplitter(max_line_bytes=4)
    assert splitter.feed(b"abcdefghij") == ["abcd", "efgh"]
    assert splitter.end() == ["ij"]


def ready() -> Ready:
    return Ready(
        url="http://127.0.0.1:8000/",
        openalgo_url="ws://127.0.0.1:8765",
        admin_url="http://127.0.0.1:8000/admin/",
        username="demo",
        password="p",
        api_key="k",
        instruments=10_000,
        processes=Processes(worker=1, gateway=[2], simulator=None),
    )


def test_announcement_ends_with_one_line_for_programs() -> None:
    last = announce(ready(), 1.0).splitlines()[-1]
    word, _, content = last.partition(" ")
    assert word == "ready"
    facts = json.loads(content)
    assert set(facts) == {
        "url",
        "openalgo_url",
        "admin_url",
        "username",
        "password",
        "api_key",
        "instruments",
        "processes",
    }
    assert facts["processes"] == {"worker": 1, "gateway": [2], "simulator": None}


def test_secrets_are_random_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "data" / "demo.json"
    first = read_or_create(path)
    assert read_or_create(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert first != new_secrets()
    assert first.password not in repr(first)


def test_damaged_secrets_are_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text('{"username": "demo"')
    with pytest.raises(DemoFileError, match="remove it"):
        read_or_create(path)


def demo_account(choice: DemoChoice, env: Environment) -> DemoAccount:
    adapter = default_registry().get(choice.broker_name)
    return choice.account(env, new_secrets(), adapter.capabilities)


def test_local_exchange_serves_three_connections_of_three_thousand() -> None:
    account = demo_account(DemoChoice(), Environment(simulator_port=9011))
    assert (account.broker, account.endpoint) == ("zerodha", "ws://127.0.0.1:9011")
    assert (account.symbols_per_connection, account.max_connections) == (3000, 3)
    assert set(account.credentials) == {"api_key", "access_token"}


@pytest.mark.parametrize("broker", list(MARKET_EXCHANGES))
def test_any_broker_that_the_simulated_market_speaks_has_a_whole_credential(broker: str) -> None:
    choice = DemoChoice(broker=broker)
    assert choice.simulator_arguments() == ("--broker", broker)
    account = demo_account(choice, Environment())
    capabilities = default_registry().get(broker).capabilities
    assert set(account.credentials) == {field.name for field in capabilities.credential_fields}
    assert all(account.credentials.values())
    assert account.symbols_per_connection == capabilities.symbols_per_connection


def test_replay_plays_binance_from_here_and_the_real_one_needs_no_simulator() -> None:
    replay = DemoChoice(replay=Path("/data/capture"), speed=2.5)
    assert replay.simulator_arguments() == ("--replay", "/data/capture", "--speed", "2.5")
    assert demo_account(replay, Environment()).endpoint == "ws://127.0.0.1:9010"
    real = DemoChoice(broker="binance")
    assert real.simulator_arguments() is None
    assert demo_account(real, Environment()).endpoint == ""
