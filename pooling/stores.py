"""``AccountStore`` on Django's database: the one door between a worker and the ORM.

Every query runs in Django's thread and never on the event loop, on a connection that is given back
afterwards. A cancelled call may still finish its write.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from django.db import transaction
from django.utils import timezone

from brokers.base import Credentials
from brokers.exceptions import BrokerConfigError
from brokers.feed import PoolStats
from brokers.types import Instrument as InstrumentValue
from brokers.types import InstrumentKey
from pooling.contracts import AccountSpec, UsageSample
from pooling.crypto import CredentialCipher
from pooling.database import in_database
from pooling.models import BrokerAccount, Instrument, PoolEvent, PoolStatus, PoolUsage

__all__ = ["DjangoAccountStore"]

logger = logging.getLogger(__name__)

# Below the 999 parameters of one SQLite statement, and below the size where PostgreSQL's planner
# prefers a scan.
KEYS_PER_QUERY = 500
EVENTS_BETWEEN_PRUNES = 100


class DjangoAccountStore:
    """Accounts, credentials, instruments and history in the site's database.

    Args:
        key_file: the keys of the stored credentials, read at each ``credentials`` call.
        account_ids: serve only these accounts; None serves all enabled ones.
    """

    def __init__(self, *, key_file: Path, account_ids: Sequence[int] | None = None) -> None:
        self._key_file = key_file
        self._account_ids = None if account_ids is None else frozenset(account_ids)
        self._applied: dict[str, tuple[int, datetime]] = {}
        self._events_since_prune: defaultdict[int, int] = defaultdict(int)
        self._unusable: frozenset[int] = frozenset()

    async def accounts(self) -> Sequence[AccountSpec]:
        """Return all enabled accounts of brokers that this installation knows."""
        return await in_database(self._accounts)

    async def credentials(self, pool_id: str) -> Credentials:
        """Return the credential in clear. Raises BrokerConfigError when it cannot be decrypted."""
        return await in_database(self._credentials, pool_id)

    async def resolve(
        self, broker: str, keys: Sequence[InstrumentKey]
    ) -> Mapping[InstrumentKey, InstrumentValue]:
        """Return the known ones of ``keys``."""
        return await in_database(self._resolve, broker, keys)

    async def save_status(self, worker_id: str, epoch: int, stats: Sequence[PoolStats]) -> None:
        """Write the heartbeat row of each pool; accounts deleted meanwhile are left out."""
        if stats:
            await in_database(self._save_status, worker_id, epoch, stats)

    async def save_usage(self, samples: Sequence[UsageSample]) -> None:
        """Write peaks of an interval and drop those that are too old."""
        if samples:
            await in_database(self._save_usage, samples)

    async def record_event(self, pool_id: str, kind: str, message: str) -> None:
        """Keep what happened and why, for people; only the newest of each pool stay."""
        await in_database(self._record_event, pool_id, kind, message)

    def _accounts(self) -> list[AccountSpec]:
        accounts = BrokerAccount.objects.filter(enabled=True, user__is_active=True)
        if self._account_ids is not None:
            accounts = accounts.filter(pk__in=self._account_ids)
        specs: list[AccountSpec] = []
        unusable: set[int] = set()
        for account in accounts.select_related("config").order_by("pk"):
            try:
                specs.append(account.to_spec())
            except (BrokerConfigError, ValueError) as error:
                unusable.add(account.pk)
                if account.pk not in self._unusable:
                    logger.error("account %s left out: %s", account.pk, error)
        self._unusable = frozenset(unusable)
        return specs

    def _credentials(self, pool_id: str) -> Credentials:
        row = (
            BrokerAccount.objects.filter(pk=int(pool_id))
            .values_list("credentials", "credentials_version")
            .first()
        )
        if row is None:
            raise BrokerConfigError(f"account {pool_id} does not exist any more")
        tokens, version = row
        values = CredentialCipher.from_file(self._key_file).decrypt(tokens) if tokens else {}
        return Credentials(values=values, version=version)

    def _resolve(
        self, broker: str, keys: Sequence[InstrumentKey]
    ) -> dict[InstrumentKey, InstrumentValue]:
        found: dict[InstrumentKey, InstrumentValue] = {}
        for exchange, symbols in _by_exchange(keys):
            rows = Instrument.objects.filter(broker=broker, exchange=exchange, symbol__in=symbols)
            for symbol, token in rows.values_list("symbol", "broker_token"):
                key = InstrumentKey(exchange, symbol)
                found[key] = InstrumentValue(key=key, broker_token=token)
        return found

    def _save_status(self, worker_id: str, epoch: int, stats: Sequence[PoolStats]) -> None:
        now = timezone.now()
        rows = [self._status_row(worker_id, epoch, each, now) for each in stats]
        columns = [
            field.name
            for field in PoolStatus._meta.concrete_fields
            if field.name not in ("id", "account")
        ]
        with transaction.atomic():
            existing = _existing_accounts(row.account_id for row in rows)
            PoolStatus.objects.bulk_create(
                [row for row in rows if row.account_id in existing],
                update_conflicts=True,
                unique_fields=["account"],
                update_fields=columns,
            )

    def _status_row(
        self, worker_id: str, epoch: int, stats: PoolStats, now: datetime
    ) -> PoolStatus:
        revision, applied = self._applied.get(stats.pool_id, (None, now))
        if revision != stats.config_revision:
            applied = now
            self._applied[stats.pool_id] = (stats.config_revision, now)
        return PoolStatus(
            account_id=int(stats.pool_id),
            owner=worker_id[:128],
            epoch=epoch,
            state=stats.status.value,
            reason=stats.reason[:255],
            since=_at(stats.since_ms),
            connections=len(stats.connections),
            max_connections=stats.max_connections,
            symbols_per_connection=stats.symbols_per_connection,
            symbols=stats.wanted,
            waiting=stats.waiting,
            used=stats.used,
            capacity=stats.capacity,
            clients=stats.clients,
            ticks_per_second=stats.ticks_per_second,
            applied_revision=stats.config_revision,
            applied=applied,
            heartbeat=now,
            stats=msgspec.to_builtins(stats),
        )

    def _save_usage(self, samples: Sequence[UsageSample]) -> None:
        with transaction.atomic():
            existing = _existing_accounts(int(sample.pool_id) for sample in samples)
            PoolUsage.objects.bulk_create(
                [_usage_row(sample) for sample in samples if int(sample.pool_id) in existing]
            )
        PoolUsage.prune()

    def _record_event(self, pool_id: str, kind: str, message: str) -> None:
        account_id = int(pool_id)
        with transaction.atomic():
            if not _existing_accounts([account_id]):
                return
            PoolEvent.objects.create(account_id=account_id, kind=kind[:64], message=message[:500])
        self._events_since_prune[account_id] += 1
        if self._events_since_prune[account_id] >= EVENTS_BETWEEN_PRUNES:
            self._events_since_prune[account_id] = 0
            PoolEvent.prune(account_id)


def _by_exchange(keys: Sequence[InstrumentKey]) -> Iterator[tuple[str, list[str]]]:
    """Yield the symbols of each exchange, in portions that fit one statement."""
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for exchange, symbol in keys:
        grouped[exchange].append(symbol)
    for exchange, symbols in grouped.items():
        for start in range(0, len(symbols), KEYS_PER_QUERY):
            yield exchange, symbols[start : start + KEYS_PER_QUERY]


def _existing_accounts(ids: Iterator[int] | Sequence[int]) -> set[int]:
    """Return which of ``ids`` are there: a row of a deleted account would break the whole write."""
    return set(BrokerAccount.objects.filter(pk__in=list(ids)).values_list("pk", flat=True))


def _usage_row(sample: UsageSample) -> PoolUsage:
    return PoolUsage(
        account_id=int(sample.pool_id),
        started=_at(sample.started_ms),
        ended=_at(sample.ended_ms),
        symbols=sample.symbols,
        symbols_at=_at(sample.symbols_at_ms),
        connections=sample.connections,
        connections_at=_at(sample.connections_at_ms),
        clients=sample.clients,
        clients_at=_at(sample.clients_at_ms),
        ticks_per_second=sample.ticks_per_second,
        ticks_per_second_at=_at(sample.ticks_per_second_at_ms),
        ticks_received=sample.ticks_received,
        reconnects=sample.reconnects,
    )


def _at(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
