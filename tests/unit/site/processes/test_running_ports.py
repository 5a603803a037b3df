"""A demo with other ports is found by commands of another terminal while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from brokers.registry import default_registry
from openalgo_site.config.env import Environment
from openalgo_site.config.logs import LogLevel
from openalgo_site.demo.main import DemoChoice
from openalgo_site.demo.runner import DemoPlan
from openalgo_site.demo.secrets_file import new_secrets
from openalgo_site.processes.running_ports import FILE_NAME, as_running, say_running

MOVED = Environment(port=8123, zmq_port=8124, host="::1")


def test_addresses_are_there_while_the_demo_runs(tmp_path: Path) -> None:
    with say_running(tmp_path, MOVED):
        env, pid = as_running(Environment(log_level=LogLevel.DEBUG), tmp_path)
        assert (env.port, env.zmq_port, env.host, env.log_level) == (8123, 8124, "::1", "DEBUG")
        assert pid is not None
    assert as_running(Environment(), tmp_path) == (Environment(), None)


def test_what_a_killed_demo_left_behind_is_nothing(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with say_running(tmp_path, MOVED):
        content = json.loads((tmp_path / FILE_NAME).read_bytes())
    (tmp_path / FILE_NAME).write_text(json.dumps({**content, "pid": gone.pid}))
    assert as_running(Environment(), tmp_path) == (Environment(), None)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"pid": "x"}', '{"pid": 1e99}', "\x00"])
def test_a_file_that_nobody_can_read_is_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert as_running(Environment(), tmp_path) == (Environment(), None)


def test_credentials_of_the_local_exchange_that_are_set_are_used(tmp_path: Path) -> None:
    secrets = new_secrets()
    capabilities = default_registry().get("zerodha").capabilities

    def used(env: Environment) -> tuple[dict[str, str], dict[str, str]]:
        plan = DemoPlan(
            base_dir=tmp_path,
            env=env,
            adapter=default_registry().get("zerodha"),
            secrets=secrets,
            secrets_path=tmp_path / "demo.json",
            simulator_arguments=("--broker", "zerodha"),
        )
        simulator = next(each for each in plan.children(3) if each.name == "simulator")
        account = DemoChoice().account(env, secrets, capabilities)
        names = ("SIMULATOR_API_KEY", "SIMULATOR_ACCESS_TOKEN")
        return dict(account.credentials), {name: simulator.env[name] for name in names}

    given = msgspec.structs.replace(
        Environment(), simulator_api_key="my-key", simulator_access_token="my-token"
    )
    account, exchange = used(given)
    assert (account["api_key"], account["access_token"]) == ("my-key", "my-token")
    assert list(exchange.values()) == ["my-key", "my-token"]
    account, exchange = used(Environment())
    assert list(exchange.values()) == [account["api_key"], account["access_token"]]
    assert account["api_key"] == secrets.simulator_api_key
