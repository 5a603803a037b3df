"""The benchmark's own frame: what becomes of a scenario that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from benchmarks import __main__ as runner
from benchmarks.harness import Result


async def good() -> AsyncIterator[Result]:
    yield Result("good", {"per_s": 1.0}, correct=True)


async def bad() -> AsyncIterator[Result]:
    yield Result("bad, first part", {"per_s": 2.0}, correct=True)
    raise RuntimeError("no server")


async def test_a_scenario_that_fails_costs_only_itself(monkeypatch, capsys):
    """What it measured before stays, the others run, and the failure is a wrong result."""
    monkeypatch.setattr(runner, "_ALONE", {"bad": bad, "good": good})
    results = await runner._collect(["bad", "good"])
    assert [(each.scenario, each.correct) for each in results] == [
        ("bad, first part", True),
        ("bad", False),
        ("good", True),
    ]
    assert "no server" in results[1].notes
    assert "RuntimeError: no server" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fanout", "pipeline", "worker"])
def test_scenarios_are_found_by_name(name: str) -> None:
    kinds = (runner._ALONE, runner._BARE, runner._CHAIN)
    assert sum(name in kind for kind in kinds) == 1
