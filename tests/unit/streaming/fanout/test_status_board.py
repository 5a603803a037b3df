"""The board of those who watch pools: who is sent what, and how often it is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import pytest

from streaming.clients.client import Client
from streaming.edge_limits import EdgeLimits
from streaming.exceptions import StatusUnavailableError
from streaming.fanout.hub import GatewayHub
from streaming.fanout.status_board import MAX_VIEWS_PER_USER, StatusBoard
from streaming.gateway.requests import serve
from streaming.ports.status import StatusView
from streaming.protocol.parsing import parse_request
from streaming.protocol.session import SessionState
from streaming.protocol.vocabulary import CloseCode, ErrorCode, ProtocolError
from streaming.testing.edge import FakeDirectory, FakeFeedLink, make_principal
from tests.support import eventually
from tests.unit.streaming.fanout.test_hub import RecordingSocket, of_type


class Source:
    """Answers with the number of the look; ``go_down`` makes it fail."""

    def __init__(self) -> None:
        self.looks: list[frozenset[StatusView]] = []
        self.error: Exception | None = None

    async def read(
        self, views: Collection[StatusView], *, gateway: str
    ) -> Mapping[StatusView, str]:
        self.looks.append(frozenset(views))
        if self.error is not None:
            raise self.error
        return {
            view: json.dumps({"type": "pool_status", "view": view, "look": len(self.looks)})
            for view in views
        }

    def go_down(self, error: Exception) -> None:
        self.error = error

    def come_back(self) -> None:
        self.error = None


class Kit:
    def __init__(self) -> None:
        self.source = Source()
        self.limits = EdgeLimits(revalidate_seconds=60)
        self.hub = GatewayHub(
            link=FakeFeedLink(), directory=FakeDirectory(), status=self.source, limits=self.limits
        )
        # As often as the loop allows, so that no test waits for a second.
        self.hub.board._interval_seconds = self.hub.board._least_seconds = 0.01

    def client(self, user_id: int = 1) -> tuple[Client, RecordingSocket]:
        sender = RecordingSocket()
        client = Client(
            client_id=self.hub.next_client_id(), address="a", socket=sender, limits=self.limits
        )
        client.session.move(SessionState.AUTHENTICATING)
        client.session.admit(make_principal(user_id))
        self.hub.enter(client)
        return client, sender

    async def ask(self, client: Client, **fields: Any) -> None:
        await serve(self.hub, client, parse_request(json.dumps(fields)))

    async def watch(self, client: Client, **fields: Any) -> None:
        await self.ask(client, action="subscribe_pool_status", **fields)


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    kit = Kit()
    await kit.hub.open()
    yield kit
    await kit.hub.close()


def figures(sender: RecordingSocket) -> list[dict[str, Any]]:
    return of_type(sender, "pool_status")


async def test_figures_follow_the_answer_again_and_again(kit: Kit) -> None:
    client, sender = kit.client()
    await kit.watch(client, request_id=5)
    await eventually(lambda: len(figures(sender)) >= 3)
    assert sender.frames[0] == {
        "type": "subscribe_pool_status",
        "status": "success",
        "message": "Pool status on.",
        "request_id": 5,
    }
    assert figures(sender)[0]["view"] == [1, 1, ""]


async def test_one_look_serves_everybody(kit: Kit) -> None:
    """The same view is asked for once, however many see it; a user's view is his own."""
    (first, one), (second, two), (other, three) = kit.client(), kit.client(), kit.client(2)
    for client in (first, second, other):
        await kit.watch(client, page=2, search=" Stale ")
    await eventually(lambda: figures(one) and figures(two) and figures(three))
    assert kit.source.looks[-1] == {StatusView(1, 2, "stale"), StatusView(2, 2, "stale")}
    assert figures(three)[-1]["view"] == [2, 2, "stale"]


async def test_nobody_watching_nothing_is_read(kit: Kit) -> None:
    client, sender = kit.client()
    await kit.watch(client)
    await eventually(lambda: figures(sender))
    await kit.ask(client, action="unsubscribe_pool_status")
    await eventually(lambda: not kit.hub.board._changed.is_set())
    seen = len(kit.source.looks)
    await asyncio.sleep(0.1)
    assert len(kit.source.looks) <= seen + 1
    assert of_type(sender, "unsubscribe_pool_status")


async def test_a_client_that_is_gone_is_forgotten(kit: Kit) -> None:
    (leaver, _), (closed, _), (stays, sender) = kit.client(), kit.client(2), kit.client(3)
    for client in (leaver, closed, stays):
        await kit.watch(client)
    await eventually(lambda: len(kit.source.looks[-1]) == 3 if kit.source.looks else False)
    kit.hub.leave(leaver)
    kit.hub.close_client(closed, CloseCode.UNAUTHENTICATED, "session ended")
    await eventually(lambda: kit.source.looks[-1] == {StatusView(3)})
    assert figures(sender)


async def test_a_client_that_does_not_read_is_sent_no_more(kit: Kit) -> None:
    """What waits for it is bounded by one frame that it takes and one behind it."""
    slow, slow_sender = kit.client()
    quick, sender = kit.client(2)
    slow_sender.congest()
    await kit.watch(slow)
    await kit.watch(quick)
    await eventually(lambda: len(figures(sender)) >= 6)
    assert len(slow.outbox) <= 2


@pytest.mark.parametrize("error", [StatusUnavailableError("away"), RuntimeError("a defect")])
async def test_a_database_that_was_away_is_asked_again(kit: Kit, error: Exception) -> None:
    kit.source.go_down(error)
    client, sender = kit.client()
    await kit.watch(client)
    await eventually(lambda: len(kit.source.looks) >= 3)
    assert not figures(sender)
    kit.source.come_back()
    await eventually(lambda: figures(sender))


async def test_views_of_one_user_are_bounded(kit: Kit) -> None:
    for page in range(MAX_VIEWS_PER_USER):
        await kit.watch(kit.client()[0], page=page + 1)
    client, _ = kit.client()
    with pytest.raises(ProtocolError) as refused:
        await kit.watch(client, page=99, request_id="r")
    assert (refused.value.code, refused.value.request_id) == (ErrorCode.SUBSCRIPTION_LIMIT, "r")
    await kit.watch(client, page=1)
    await kit.watch(kit.client(2)[0], page=99)


async def test_turning_a_page_replaces_the_view(kit: Kit) -> None:
    client, sender = kit.client()
    for page in range(1, 3 * MAX_VIEWS_PER_USER):
        await kit.watch(client, page=page)
    await eventually(lambda: figures(sender))
    assert kit.source.looks[-1] == {StatusView(1, 3 * MAX_VIEWS_PER_USER - 1)}


async def test_a_gateway_without_a_source_says_so() -> None:
    hub = GatewayHub(link=FakeFeedLink(), directory=FakeDirectory())
    client = Client(client_id="1", address="a", socket=RecordingSocket(), limits=EdgeLimits())
    with pytest.raises(ProtocolError, match="no pool status"):
        hub.board.watch(client, StatusView(1))
    await hub.board.run()


@pytest.mark.parametrize(
    "fields",
    [{"page": 0}, {"page": True}, {"page": "1"}, {"page": 10_001}, {"search": 5},
     {"search": "x" * 65}, {"search": "a\nb"}, {"search": "\ud800"}],
)  # fmt: skip
def test_what_cannot_be_a_view_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as refused:
        parse_request(json.dumps({"action": "subscribe_pool_status", **fields}))
    assert refused.value.code in (ErrorCode.INVALID_PARAMETERS, ErrorCode.INVALID_JSON)


@pytest.mark.parametrize("timing", [(0.0, 1.0), (2.0, 1.0)])
def test_timings_must_fit(timing: tuple[float, float]) -> None:
    least, interval = timing
    with pytest.raises(ValueError, match="least_seconds"):
        StatusBoard(
            source=None,
            gateway="g",
            clock=lambda: 0.0,
            interval_seconds=interval,
            least_seconds=least,
        )
