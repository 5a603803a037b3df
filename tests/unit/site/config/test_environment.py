"""The typed environment and its documentation."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from dotenv import dotenv_values

from openalgo_site.config.env import Environment, EnvironmentValueError, read_environment

EXAMPLE = Path(__file__).resolve().parents[4] / ".env.example"


def test_example_documents_every_variable_with_its_default() -> None:
    """``.env.example`` as it is means the same as no file at all."""
    documented = dotenv_values(EXAMPLE)
    known = {field.encode_name for field in msgspec.structs.fields(Environment)}
    assert set(documented) == known
    values = {name: value or "" for name, value in documented.items()}
    assert read_environment(values) == Environment()


def test_example_explains_each_variable_that_its_name_does_not() -> None:
    """Every block of variables stands below a comment."""
    blocks = re.split(r"\n(?=#)", EXAMPLE.read_text())
    assert all(block.startswith("#") for block in blocks)


def test_empty_values_count_as_not_set() -> None:
    assert read_environment({"PORT": "", "UNKNOWN": "x"}) == Environment()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("ZMQ_PORT", "-1"),
        ("MAX_SYMBOLS_PER_WEBSOCKET", "0"),
        ("DEBUG", "perhaps"),
        ("USAGE_INTERVAL_SECONDS", "0"),
    ],
)
def test_unusable_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(EnvironmentValueError, match=f"{name}="):
        read_environment({name: value})


@pytest.mark.parametrize("key", ["shortsecret", "with a space in between", "schlüsselschlüssel"])
def test_a_key_of_the_metrics_that_is_none_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(EnvironmentValueError, match="METRICS_KEY cannot") as caught:
        read_environment({"METRICS_KEY": key})
    assert key not in str(caught.value)
    assert read_environment({"METRICS_KEY": "k" * 16}).metrics_key == "k" * 16


def test_data_dir_is_below_the_project_unless_absolute(tmp_path: Path) -> None:
    assert Environment(data_dir="var").data_path(tmp_path) == tmp_path / "var"
    assert Environment(data_dir="/somewhere").data_path(tmp_path) == Path("/somewhere")


def test_where_the_bus_has_its_files() -> None:
    base = Path("/site")
    assert Environment().bus_path(base) == base / "var" / "bus"
    assert Environment(data_dir="/data").bus_path(base) == Path("/data/bus")
    assert Environment(zmq_socket_dir="run").bus_path(base) == base / "run"
    assert Environment(zmq_socket_dir="none").bus_path(base) is None
