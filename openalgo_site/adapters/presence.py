"""``PresenceStore`` on Django's database: gateways and their clients, for people who look."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

import msgspec
from django.contrib.auth import get_user_model
from django.db import Error, transaction
from django.utils import timezone

from brokers.batching import portions
from brokers.words import named_error
from openalgo_site.adapters.key_uses import KEY_USES, KeyUses
from pooling.store.database import in_database
from streaming.exceptions import PresenceUnavailableError
from streaming.models import ApiKey, ClientConnection, GatewayStatus
from streaming.monitoring.presence import ClientSeen, GatewayFigures, PresenceChange
from streaming.tables import NOT_MIGRATED, lacks_tables

__all__ = ["DjangoPresence"]

P = ParamSpec("P")
T = TypeVar("T")

FORGET_SECONDS = 5.0
ROWS_PER_STATEMENT = 90  # SQLite takes 999 parameters


class DjangoPresence:
    """Gateways and clients in the site's database.

    Every coroutine runs its queries in Django's thread, on a connection that is given back
    afterwards.

    Args:
        clock: monotonic seconds, for what is done now and then.
        uses: of API keys, written with the heartbeat.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, uses: KeyUses = KEY_USES
    ) -> None:
        self._clock = clock
        self._uses = uses
        # When gateways that are gone were forgotten last; one write at a time.
        self._forgot_at: float | None = None

    async def save_gateway(self, figures: GatewayFigures) -> bool:
        """Write the heartbeat; now and then forget gateways that are gone."""
        return await _in_database(self._save_gateway, figures)

    async def save_clients(self, gateway: str, change: PresenceChange) -> None:
        """Write who came and who went, all or nothing; clients of deleted users are left out."""
        await _in_database(_save_clients, gateway, change)

    async def asked_to_leave(self, gateway: str) -> Sequence[str]:
        """Return the ids of the clients that somebody wants disconnected."""
        return await _in_database(_asked_to_leave, gateway)

    async def forget_gateway(self, gateway: str) -> None:
        """Delete a gateway and its clients."""
        await _in_database(_forget_gateway, gateway)

    def _save_gateway(self, figures: GatewayFigures) -> bool:
        now = timezone.now()
        values = {
            "heartbeat": now,
            "clients": figures.clients,
            "deliveries": figures.deliveries,
            "deliveries_per_second": figures.deliveries_per_second,
            "conflated": figures.conflated,
            "dropped": figures.dropped,
            "slow_closes": figures.slow_closes,
            "latency": msgspec.to_builtins(figures.latency),
        }
        is_known = GatewayStatus.objects.filter(gateway=figures.gateway).update(**values)
        if not is_known:
            GatewayStatus.objects.create(
                gateway=figures.gateway,
                host=figures.host,
                pid=figures.pid,
                started=_at(figures.started_ms),
                **values,
            )
        moment = self._clock()
        if self._forgot_at is None or moment - self._forgot_at >= FORGET_SECONDS:
            self._forgot_at = moment
            GatewayStatus.objects.forget_dead(now)
        self._write_uses()
        return not is_known

    def _write_uses(self) -> None:
        uses = self._uses.take()
        try:
            ApiKey.objects.note_uses(uses)
        except Error:
            self._uses.give_back(uses)
            raise


async def _in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return await in_database(function, *args, **kwargs)
    except (Error, GatewayStatus.DoesNotExist) as error:
        words = NOT_MIGRATED if lacks_tables(error) else named_error(error)
        raise PresenceUnavailableError(words) from error


def _save_clients(gateway: str, change: PresenceChange) -> None:
    with transaction.atomic():
        row = GatewayStatus.objects.only("pk").get(gateway=gateway)
        ours = ClientConnection.objects.filter(gateway=row)
        for part in portions(change.left, ROWS_PER_STATEMENT):
            ours.filter(client__in=part).delete()
        users = get_user_model().objects.filter(pk__in={each.user_id for each in change.joined})
        known = set(users.values_list("pk", flat=True))
        ids = {each.key_id for each in change.joined if each.key_id is not None}
        keys = set(ApiKey.objects.filter(pk__in=ids).values_list("pk", flat=True))
        ClientConnection.objects.bulk_create(
            [_row(row, each, keys) for each in change.joined if each.user_id in known],
            batch_size=ROWS_PER_STATEMENT,
            ignore_conflicts=True,  # written by a call that was cancelled too late
        )
        for part in portions(change.symbols, ROWS_PER_STATEMENT):
            rows = list(ours.filter(client__in=part))
            for each in rows:
                each.symbols = change.symbols[each.client]
            ClientConnection.objects.bulk_update(rows, ["symbols"])


def _row(gateway: GatewayStatus, seen: ClientSeen, keys: set[int]) -> ClientConnection:
    return ClientConnection(
        gateway=gateway,
        client=seen.client,
        user_id=seen.user_id,
        api_key_id=seen.key_id if seen.key_id in keys else None,
        address=seen.address[:64],
        user_agent=seen.user_agent,
        protocol=seen.protocol,
        connected=_at(seen.connected_ms),
        symbols=seen.symbols,
    )


def _asked_to_leave(gateway: str) -> list[str]:
    asked = ClientConnection.objects.filter(gateway__gateway=gateway, disconnect_requested=True)
    return list(asked.values_list("client", flat=True))


def _forget_gateway(gateway: str) -> None:
    GatewayStatus.objects.filter(gateway=gateway).delete()


def _at(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
