"""Notices leave a process without holding it up."""

from __future__ import annotations

from typing import Any

import pytest

from openalgo_site.adapters import notices
from openalgo_site.adapters.notices import NoticeSender


class Layer:
    """A layer that fails, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.asked += 1
        raise OSError("away")


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    layer = Layer()
    monkeypatch.setattr(notices, "get_channel_layer", lambda: layer)
    return layer


def test_a_gateway_takes_the_notice_and_nothing_else_is_asked(layer: Layer) -> None:
    taken: list[int] = []
    sender = NoticeSender()

    def take(user_id: int) -> bool:
        taken.append(user_id)
        return True

    sender.send_through(take)
    sender.send(7)
    assert taken == [7]
    assert layer.asked == 0


def test_a_command_leaves_a_layer_that_failed_alone_for_a_while(layer: Layer) -> None:
    now = 100.0
    sender = NoticeSender(clock=lambda: now)
    for user_id in range(50):
        sender.send(user_id)
    assert layer.asked == 2  # one notice, tried twice
    now += notices.REST_SECONDS
    sender.send(1)
    assert layer.asked == 4
