"""Fixtures of every layer."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

# The same examples in every run, and no bound on an example's time: what a busy machine does to it
# says nothing about the code. ``HYPOTHESIS_PROFILE=explore`` looks for new ones.
hypothesis_settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.register_profile(
    "explore", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

pytest_plugins = [
    "tests.fix_oracles",
    "tests.fix_running_time",
    "tests.fix_services",
    "tests.fix_simulator",
]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes that are no text by their number.

    What is packed may hold the time of day, and every process of a parallel run must give a test
    the same name.
    """
    if isinstance(val, bytes) and not val.isascii():
        return f"{argname}-{len(val)}-bytes"
    return None


# Whoever runs files side by side begins with those that compute and wait for each other least:
# Chromium, simulations, commands. The soak takes three minutes whatever else runs, and judges a
# whole installation by what it does in its time: it begins when they are done, and beside it run
# those that mostly wait for sockets and time-outs. The shortest come last, to fill what is left.
_ORDER = (
    "browser",
    "simulation",
    "integration/site",
    "integration/database",
    "soak",
    "fault",
    "system",
    "integration/brokers",
    "integration/pooling",
    "integration/simulator",
    "integration/streaming",
    "",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put layers in their order; within one the order stays."""
    ranks = {name: rank for rank, name in enumerate(_ORDER)}
    root = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        layer, room, *_ = item.path.relative_to(root).parts
        return ranks.get(layer, ranks.get(f"{layer}/{room}", ranks[""]))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the test database in a file of this run.

    SQLite in memory has no WAL, and several runs at once must not share one file.
    """
    database: Any = settings.DATABASES["default"]
    if database["ENGINE"] == "django.db.backends.sqlite3":
        name = tmp_path_factory.mktemp("database") / f"test-{os.getpid()}.sqlite3"
        database.setdefault("TEST", {})["NAME"] = str(name)


@pytest.fixture(scope="session")
def data_dirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Names of directories of which each is another's; who keeps something makes its own."""
    folder = tmp_path_factory.mktemp("data")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def data_dir(settings: Any, data_dirs: Iterator[Path]) -> Path:
    """Keep key files and other data of a test in a directory of its own.

    Not in its ``tmp_path``: to make that takes longer than most tests do.
    """
    settings.DATA_DIR = next(data_dirs)
    settings.BUS_DIR = settings.DATA_DIR / "bus"
    return settings.DATA_DIR  # type: ignore[no-any-return]


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Run a test without the collector of cycles, which then finds what the test left alone."""
    gc.collect()
    gc.disable()
    gc.freeze()  # what is there already is not looked at again
    yield
    gc.unfreeze()
    gc.enable()
