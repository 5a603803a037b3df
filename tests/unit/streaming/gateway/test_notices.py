"""Notices on a layer in memory that fails when it is told to; the clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from streaming.gateway import notices as module
from streaming.gateway.notices import GROUP, Notices, NoticeState, changed_users, send_notice
from tests.support import eventually


class Layer(InMemoryChannelLayer):  # type: ignore[misc]
    """``fail`` makes every call fail until ``work``."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None

    def fail(self, error: Exception) -> None:
        self.error = error

    def work(self) -> None:
        self.error = None

    async def group_add(self, group: str, channel: str) -> None:
        self._check()
        await super().group_add(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self._check()
        await super().group_send(group, message)

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


class Kit:
    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.now = 1000.0
        self.changed: list[list[int]] = []
        self.notices = Notices(
            make_layer=lambda: layer,
            on_changed=self._note,
            clock=lambda: self.now,
            chance=lambda: 0.0,
        )

    def _note(self, users: Collection[int]) -> None:
        self.changed.append(list(users))

    async def is_in(self, state: NoticeState) -> None:
        await eventually(lambda: self.notices.state is state)


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Kit:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    return Kit(Layer())


async def test_a_notice_arrives_once_and_several_users_share_one(kit: Kit) -> None:
    assert not kit.notices.announce(1)  # not open
    await kit.notices.open()
    await kit.is_in(NoticeState.LIVE)
    for user_id in (5, 6, 5):
        assert await asyncio.to_thread(kit.notices.announce, user_id)
    await eventually(lambda: {each for users in kit.changed for each in users} == {5, 6})
    await kit.notices.close()
    assert kit.notices.state is NoticeState.CLOSED
    assert kit.layer.groups == {}
    assert not kit.notices.announce(1)


async def test_while_the_layer_is_away_its_own_clients_are_looked_at(kit: Kit) -> None:
    await kit.notices.open()
    await kit.is_in(NoticeState.LIVE)
    kit.layer.fail(RuntimeError("of a kind that nobody foresaw"))
    await kit.is_in(NoticeState.AWAY)
    kit.notices.announce(7)
    await eventually(lambda: kit.changed == [[7]])
    assert kit.notices.unsent == 1
    kit.layer.work()
    await kit.is_in(NoticeState.LIVE)
    kit.notices.announce(8)
    await eventually(lambda: kit.changed == [[7], [8]])
    assert kit.notices.received == 1
    await kit.notices.close()


async def test_the_group_is_joined_again_when_the_layer_has_forgotten_it(kit: Kit) -> None:
    await kit.notices.open()
    await kit.is_in(NoticeState.LIVE)
    kit.layer.groups.clear()
    await eventually(lambda: kit.layer.groups.get(GROUP))
    await send_notice(kit.layer, [3])
    await eventually(lambda: kit.changed == [[3]])
    await kit.notices.close()


async def test_a_beat_that_does_not_come_back_says_that_the_layer_is_away(kit: Kit) -> None:
    await kit.notices.open()
    await kit.is_in(NoticeState.LIVE)
    assert kit.notices.state_changes == 0

    async def swallow(channel: str, message: dict[str, Any]) -> None:
        """Take a message as if it were sent."""

    kit.layer.send = swallow
    kit.now += module.BEAT_LATE_SECONDS + 0.1
    await kit.is_in(NoticeState.AWAY)
    await eventually(lambda: kit.notices.state_changes == 1)
    await kit.notices.close()


async def test_what_waits_to_be_sent_is_bounded(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    await kit.notices.open()
    for user_id in range(5):
        kit.notices.announce(user_id)
    await eventually(lambda: kit.notices.unsent == 2)
    await kit.notices.close()


async def test_nothing_is_sent_to_a_layer_that_hangs_for_longer_than_twice_its_time(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.02)

    async def hang(group: str, message: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(kit.layer, "group_send", hang)
    with pytest.raises(TimeoutError):
        await send_notice(kit.layer, [1])


@pytest.mark.parametrize(
    "message",
    [
        None,
        b"x",
        {},
        {"type": "principal.changed"},
        {"type": "principal.changed", "user_ids": []},
        {"type": "principal.changed", "user_ids": [1, "2"]},
        {"type": "principal.changed", "user_ids": [True]},
        {"type": "principal.changed", "user_ids": list(range(1001))},
        {"type": "websocket.receive", "user_ids": [1]},
    ],
)
def test_only_a_notice_is_one(message: object) -> None:
    assert changed_users(message) is None
