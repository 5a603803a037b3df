"""Gateways and their clients in the database: cheap to write, gone when they are gone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from openalgo_site.adapters.presence import DjangoPresence
from streaming.exceptions import PresenceUnavailableError
from streaming.models import ApiKey, ClientConnection, GatewayStatus
from streaming.monitoring.presence import ClientSeen, GatewayFigures, PresenceChange

NOW_MS = 1_767_600_000_000


def figures(gateway: str = "g1", **changes: Any) -> GatewayFigures:
    values: dict[str, Any] = {
        "gateway": gateway,
        "host": "box",
        "pid": 7,
        "started_ms": NOW_MS,
        "clients": 2,
        "deliveries": 100,
        "deliveries_per_second": 12.5,
        "conflated": 3,
        "dropped": 1,
        "slow_closes": 0,
        **changes,
    }
    return GatewayFigures(**values)


def seen(client: str, user: User, key_id: int | None = None) -> ClientSeen:
    return ClientSeen(
        client=client,
        user_id=user.pk,
        key_id=key_id,
        address="10.0.0.1",
        user_agent="curl",
        protocol="openalgo",
        connected_ms=NOW_MS,
        symbols=3,
    )


def run(*coroutines: Any) -> list[Any]:
    async def all_of_them() -> list[Any]:
        return [await each for each in coroutines]

    return asyncio.run(all_of_them())


def test_a_gateway_is_new_once(transactional_db: None) -> None:
    store = DjangoPresence()
    assert run(store.save_gateway(figures()), store.save_gateway(figures(clients=5))) == [
        True,
        False,
    ]
    row = GatewayStatus.objects.get()
    assert (row.gateway, row.clients, row.deliveries_per_second) == ("g1", 5, 12.5)
    assert row.is_alive()


def test_dead_gateways_are_not_shown_and_are_deleted_with_their_clients(user: User) -> None:
    store = DjangoPresence()
    joined = PresenceChange(joined=[seen("1", user)])
    run(store.save_gateway(figures("dead")), store.save_clients("dead", joined))
    GatewayStatus.objects.update(heartbeat=timezone.now() - timedelta(seconds=11))
    assert not GatewayStatus.objects.alive()
    assert not ClientConnection.objects.alive()
    run(DjangoPresence().save_gateway(figures("live")))
    assert [row.gateway for row in GatewayStatus.objects.all()] == ["live"]
    assert not ClientConnection.objects.exists()


def test_clients_come_change_and_go(user: User) -> None:
    store = DjangoPresence()
    key, _ = ApiKey.objects.issue(user, "notebook")
    names = [str(number) for number in range(200)]
    joined = PresenceChange(joined=[seen(name, user, key.pk) for name in names])
    run(store.save_gateway(figures()), store.save_clients("g1", joined))
    row = ClientConnection.objects.get(client="7")
    assert (row.user, row.api_key, row.user_agent, row.symbols) == (user, key, "curl", 3)
    change = PresenceChange(left=names[:150], symbols={"150": 9, "gone": 1})
    run(store.save_clients("g1", change), store.save_clients("g1", joined))
    assert ClientConnection.objects.get(client="150").symbols == 9
    assert ClientConnection.objects.count() == 200, "what is there already is not written twice"


def test_a_batch_of_500_takes_few_queries(user: User, django_assert_max_num_queries: Any) -> None:
    store = DjangoPresence()
    run(store.save_gateway(figures()))
    joined = PresenceChange(joined=[seen(str(number), user) for number in range(500)])
    with django_assert_max_num_queries(14):
        run(store.save_clients("g1", joined))
    with django_assert_max_num_queries(1):
        run(store.asked_to_leave("g1"))


def test_somebody_who_was_deleted_meanwhile_costs_the_others_nothing(user: User) -> None:
    store = DjangoPresence()
    gone = User.objects.create_user("gone")
    joined = PresenceChange(joined=[seen("1", gone), seen("2", user, key_id=999)])
    gone.delete()
    run(store.save_gateway(figures()), store.save_clients("g1", joined))
    row = ClientConnection.objects.get()
    assert (row.client, row.api_key) == ("2", None)


def test_who_is_to_go_is_told_to_its_own_gateway(user: User) -> None:
    store = DjangoPresence()
    joined = PresenceChange(joined=[seen("1", user), seen("2", user)])
    for name in ("g1", "g2"):
        run(store.save_gateway(figures(name)), store.save_clients(name, joined))
    chosen = ClientConnection.objects.get(gateway__gateway="g1", client="2")
    assert ClientConnection.objects.request_disconnect([chosen.pk]) == 1
    assert run(store.asked_to_leave("g1"), store.asked_to_leave("g2")) == [["2"], []]


def test_a_gateway_that_was_deleted_is_said_and_not_raised_as_the_databases(user: User) -> None:
    store = DjangoPresence()
    change = PresenceChange(joined=[seen("1", user)])
    with pytest.raises(PresenceUnavailableError, match="DoesNotExist"):
        run(store.save_clients("nobody", change))


def test_a_gateway_that_ends_is_forgotten(user: User) -> None:
    store = DjangoPresence()
    joined = PresenceChange(joined=[seen("1", user)])
    run(
        store.save_gateway(figures()),
        store.save_clients("g1", joined),
        store.forget_gateway("g1"),
        store.forget_gateway("g1"),
    )
    assert not GatewayStatus.objects.exists()
    assert not ClientConnection.objects.exists()
