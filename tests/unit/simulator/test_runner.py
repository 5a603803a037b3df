"""The local exchange of a broker, as its command builds it."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.simulator.runner import PLANS, SimulatorError, build_exchange

ARGUMENTS: dict[str, Any] = {
    "port": 0,
    "rate": 0.0,
    "seed": 1,
    "api_key": "",
    "access_token": "",
    "control_token": "",
}


@pytest.mark.parametrize(("broker", "plan"), [(b, plan) for b in PLANS for plan in PLANS[b]])
def test_every_plan_that_is_named_can_be_had(broker: str, plan: str) -> None:
    build_exchange(broker=broker, plan=plan, **ARGUMENTS)


@pytest.mark.parametrize(
    ("broker", "plan", "told"),
    [("upstox", "gold", "normal, plus"), ("zerodha", "plus", "none"), ("nobody", None, "zerodha")],
)
def test_what_cannot_be_had_is_one_sentence(broker: str, plan: str | None, told: str) -> None:
    with pytest.raises(SimulatorError, match=told):
        build_exchange(broker=broker, plan=plan, **ARGUMENTS)
