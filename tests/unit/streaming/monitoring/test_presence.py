"""What a gateway tells of itself and its clients: differences, in bounded batches, to the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from streaming.clients.client import Client
from streaming.edge_limits import EdgeLimits
from streaming.fanout.hub import GatewayHub
from streaming.monitoring.presence import ClientSeen, Presence, PresenceLedger
from streaming.ports.directory import Principal
from streaming.protocol.session import SessionState
from streaming.protocol.vocabulary import CloseCode
from streaming.testing.edge import FakeDirectory, FakeFeedLink, make_principal
from streaming.testing.presence import InMemoryPresence
from tests.support import eventually
from tests.unit.streaming.fanout.test_hub import RecordingSocket


def seen(client: str, symbols: int = 0) -> ClientSeen:
    return ClientSeen(
        client=client,
        user_id=1,
        key_id=None,
        address="a",
        user_agent="",
        protocol="browser",
        connected_ms=0,
        symbols=symbols,
    )


def many(*names: str, symbols: int = 0) -> dict[str, ClientSeen]:
    return {name: seen(name, symbols) for name in names}


def test_what_is_written_is_not_written_again() -> None:
    ledger = PresenceLedger()
    change = ledger.change(many("a", "b"), with_symbols=True)
    assert [each.client for each in change.joined] == ["a", "b"]
    assert ledger.change(many("a", "b"), with_symbols=True) == change, "it was not written yet"
    ledger.written(change)
    assert not ledger.change(many("a", "b"), with_symbols=True)
    change = ledger.change(many("b", "c"), with_symbols=True)
    assert (change.left, [each.client for each in change.joined]) == (["a"], ["c"])


def test_symbols_are_compared_now_and_then() -> None:
    ledger = PresenceLedger()
    ledger.written(ledger.change(many("a"), with_symbols=False))
    now = many("a", symbols=7)
    assert not ledger.change(now, with_symbols=False)
    change = ledger.change(now, with_symbols=True)
    assert change.symbols == {"a": 7}
    ledger.written(change)
    assert not ledger.change(now, with_symbols=True)


def test_a_batch_is_bounded_and_the_rest_follows() -> None:
    ledger = PresenceLedger()
    names = [str(number) for number in range(25)]
    rounds = 0
    while change := ledger.change(many(*names, symbols=1), with_symbols=True, most=10):
        assert len(change.joined) + len(change.left) + len(change.symbols) <= 10
        ledger.written(change)
        rounds += 1
    assert rounds == 3
    change = ledger.change(many(*names[:2], "x", symbols=2), with_symbols=True, most=10)
    assert len(change.left) == 10
    assert not change.joined


class Kit:
    def __init__(self) -> None:
        self.limits = EdgeLimits(revalidate_seconds=60)
        self.link = FakeFeedLink()
        self.hub = GatewayHub(link=self.link, directory=FakeDirectory(), limits=self.limits)
        self.store = InMemoryPresence()
        self.presence = Presence(hub=self.hub, store=self.store, review_seconds=0.01)

    def client(self, principal: Principal | None = None, **options: Any) -> Client:
        client = Client(
            client_id=self.hub.next_client_id(),
            address="10.0.0.1",
            socket=RecordingSocket(),
            limits=self.limits,
            **options,
        )
        if principal is not None:
            client.session.move(SessionState.AUTHENTICATING)
            client.session.admit(principal)
        self.hub.enter(client)
        return client


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    kit = Kit()
    await kit.hub.open()
    kit.presence.open()
    kit.presence.open()
    yield kit
    await kit.presence.close()
    await kit.hub.close()


async def test_clients_come_and_go(kit: Kit) -> None:
    """Those who have not said who they are yet are not told of."""
    stranger = kit.client()
    page = kit.client(make_principal(1), user_agent="Firefox")
    await eventually(lambda: list(kit.store.clients) == [page.id])
    row = kit.store.clients[page.id]
    assert (row.user_id, row.address, row.user_agent) == (1, "10.0.0.1", "Firefox")
    assert row.connected_ms > 0
    kit.hub.leave(page)
    await eventually(lambda: not kit.store.clients)
    assert stranger in kit.hub.clients


async def test_the_gateway_tells_its_figures(kit: Kit) -> None:
    kit.client(make_principal(1))
    await eventually(lambda: any(g.clients == 1 for g in kit.store.gateways.values()))
    (figures,) = kit.store.gateways.values()
    assert figures.pid > 0
    assert figures.host
    assert figures.deliveries_per_second == 0


async def test_who_is_to_go_is_closed_with_the_reason(kit: Kit) -> None:
    client, other = kit.client(make_principal(1)), kit.client(make_principal(1))
    await eventually(lambda: len(kit.store.clients) == 2)
    kit.store.disconnect(client.id)
    sender: Any = client._socket
    await eventually(lambda: sender.closed is not None)
    assert sender.closed == (CloseCode.FORBIDDEN, "disconnected by an operator")
    assert other.session.state is SessionState.READY


async def test_a_store_that_was_down_catches_up(kit: Kit) -> None:
    kit.store.go_down()
    client = kit.client(make_principal(1))
    kit.store.come_back()
    await eventually(lambda: client.id in kit.store.clients)


async def test_what_was_told_to_fail_is_told_to_work_again_once(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="streaming")
    client = kit.client(make_principal(1))
    await eventually(lambda: client.id in kit.store.clients)
    kit.store.go_down()
    await eventually(lambda: "could not be written" in caplog.text)
    kit.store.come_back()
    await eventually(lambda: "presence is written again, after" in caplog.text)
    kit.hub.leave(client)
    await eventually(lambda: not kit.store.clients)
    assert caplog.text.count("presence is written again") == 1


async def test_a_look_that_asks_the_store_nothing_does_not_find_it_back(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    """Every other look writes nothing while nobody comes or goes."""
    caplog.set_level("INFO", logger="streaming")
    looks = 0
    look = kit.presence._seen

    async def counted() -> dict[str, ClientSeen]:
        nonlocal looks
        looks += 1
        return await look()

    kit.presence._seen = counted  # type: ignore[method-assign]
    kit.store.go_down()
    await eventually(lambda: "could not be written" in caplog.text)
    looks = 0
    await eventually(lambda: looks == 3)  # a look that fails comes not that far
    assert "written again" not in caplog.text


async def test_a_gateway_that_was_taken_for_dead_writes_everything_anew(kit: Kit) -> None:
    client = kit.client(make_principal(1))
    await eventually(lambda: client.id in kit.store.clients)
    kit.store.lose_everything()
    await eventually(lambda: client.id in kit.store.clients)


async def test_at_the_end_it_is_forgotten_and_a_store_that_is_down_delays_nothing(
    kit: Kit,
) -> None:
    kit.client(make_principal(1))
    await eventually(lambda: bool(kit.store.clients))
    await kit.presence.close()
    assert not kit.store.gateways
    assert not kit.store.clients
    kit.presence.open()
    kit.store.go_down()
    await kit.presence.close()


def test_a_nonsense_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="review_seconds"):
        Presence(hub=Kit().hub, store=InMemoryPresence(), review_seconds=0)
