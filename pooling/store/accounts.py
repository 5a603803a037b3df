"""``AccountStore`` on Django's database: the one door between a worker and the ORM.

No query runs on the event loop. What writes runs in Django's thread, what only reads in threads
that no write holds up, each on a connection that is given back afterwards. A cancelled call may
still finish its write.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
from django.db import Error, connection, transaction
from django.utils import timezone

from brokers.batching import portions
from brokers.contract import Credentials
from brokers.exceptions import BrokerConfigError
from brokers.pool_service import PoolStats
from brokers.times.market_clock import closed_days, last_expired
from brokers.types import Instrument as InstrumentValue
from brokers.types import InstrumentKey
from brokers.words import named_error
from pooling.contracts import (
    AccountSpec,
    CommandVerb,
    PoolOptions,
    TakenCommand,
    UsageSample,
)
from pooling.exceptions import StoreUnavailableError
from pooling.history import PoolPast
from pooling.instruments.loader import expire_instruments
from pooling.instruments.reasons import why_not_listed
from pooling.keys.opening import CredentialOpener
from pooling.models import (
    BrokerAccount,
    Instrument,
    PoolEvent,
    PoolStatus,
    SearchTier,
)
from pooling.store import commands as command_queue
from pooling.store.database import from_database, in_database
from pooling.store.history import (
    at,
    existing_accounts,
    prune,
    read_pasts,
    write_apart,
    write_usage,
)
from pooling.store.seat_groups import SeatGroups
from pooling.store.state_log import StateLog

__all__ = ["DjangoAccountStore"]

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

# Below the 999 parameters of one SQLite statement, and below the size where PostgreSQL's planner
# prefers a scan.
KEYS_PER_QUERY = 500
EVENTS_BETWEEN_PRUNES = 100
EXPIRE_SECONDS = 5.0
# Shorter than a gateway waits for the answer to a subscribe.
LOOK_UP_SECONDS = 2.0
_NAMES_REVISION = "SELECT revision FROM pooling_namesrevision WHERE broker = %s"
PRUNE_SECONDS = 3600.0
MOST_PRUNED = 50_000  # of one round: the database is everybody's


class DjangoAccountStore:
    """Accounts, credentials, instruments and history in the site's database.

    Every coroutine raises StoreUnavailableError while the database fails; those that look names up
    for somebody who waits do so after two seconds at the latest.

    Args:
        key_file: the keys of the stored credentials, read at each ``credentials`` call.
        account_ids: serve only these accounts; None serves all enabled ones.
        bus_port: where the worker publishes, for who is told of it; None: nobody is.
        elders_of: is given the fresh rows that other workers, begun before this one, have written
            of accounts that are about to be written, and returns the accounts whose row stays as
            it is. Called in Django's thread. None: every row is written.
        clock: monotonic seconds, for what is done now and then.
    """

    def __init__(
        self,
        *,
        key_file: Path,
        account_ids: Sequence[int] | None = None,
        bus_port: int | None = None,
        elders_of: Callable[[Sequence[PoolStatus]], Collection[int]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key_file = key_file
        self._account_ids = None if account_ids is None else frozenset(account_ids)
        self._clock = clock
        self._bus_port = bus_port
        self._elders_of = elders_of
        # The first five are written in Django's thread only, where calls run one after the other.
        self._pruned_at: float | None = None  # when old history was last deleted; None: not yet
        self._expired_at: float | None = None  # when requests were last given up as too old
        # By pool: the revision of its limits that is in force, and since when.
        self._applied: dict[str, tuple[int, datetime]] = {}
        self._states = StateLog()
        self._events_since_prune: defaultdict[int, int] = defaultdict(int)  # by account
        # By account: version and expiry of a credential, to be written with the next status.
        self._expiries: dict[int, tuple[int, datetime | None]] = {}
        self._seat_groups = SeatGroups()
        # Of the last look: when it differs, contracts have expired since.
        self._closed_days: Mapping[tuple[str, ...], date] = {}

    async def accounts(self) -> Sequence[AccountSpec]:
        """Return all enabled accounts; one that cannot be served says why."""
        return await _read(self._accounts)

    async def credentials(self, pool_id: str) -> Credentials:
        """Return the credential in clear. Raises BrokerConfigError when it cannot be decrypted."""
        return await _read(self._credentials, pool_id)

    async def resolve(
        self, broker: str, keys: Sequence[InstrumentKey]
    ) -> Mapping[InstrumentKey, InstrumentValue]:
        """Return the known ones of ``keys``; expired ones are not known."""
        return await _look_up(self._resolve, broker, keys)

    async def names_revision(self, broker: str) -> int:
        """Return how often names of the broker's changed."""
        return await _look_up(_names_revision, broker)

    async def expire(self) -> None:
        """Mark the contracts that have expired since the last call, so that their names end."""
        # It looks at all rows: after an exchange has closed, and not at each call.
        now = timezone.now()
        if (days := closed_days(now)) != self._closed_days:
            await _write(expire_instruments, now)
            self._closed_days = days

    async def expired(
        self, broker: str, keys: Sequence[InstrumentKey]
    ) -> Mapping[InstrumentKey, date | None]:
        """Return when those of ``keys`` expired that were listed within the last month or so.

        None: it left the master before that, or has no expiry.
        """
        return await _look_up(_expired, broker, keys)

    async def listed(self, broker: str, tokens: Collection[str]) -> Collection[str]:
        """Return those of ``tokens`` by which the broker calls any instrument today."""
        return await _look_up(_listed, broker, tokens)

    async def why_nothing_listed(self, broker: str) -> str:
        """Return why no name of the broker's is known; "" where some are."""
        return await _look_up(why_not_listed, broker)

    async def save_status(self, worker_id: str, epoch: int, stats: Sequence[PoolStats]) -> None:
        """Write the heartbeat row of each pool, an event where its state changed, and expiries.

        Accounts deleted meanwhile are left out, and those whose row is an elder worker's.
        """
        if stats or self._states:
            await _write(self._save_status, worker_id, epoch, stats)

    async def save_usage(self, samples: Sequence[UsageSample]) -> None:
        """Write peaks of an interval and drop those that are too old."""
        if samples:
            await _write(self._save_usage, samples)

    async def pasts(self, pool_ids: Collection[str]) -> Mapping[str, PoolPast]:
        """Return what earlier workers left behind of these pools."""
        return await _read(read_pasts, pool_ids)

    async def take_commands(
        self, worker_id: str, pool_ids: Collection[str]
    ) -> Sequence[TakenCommand]:
        """Take what people ask of these pools; ends what nobody took, now and then."""
        return await _write(self._take_commands, worker_id, pool_ids)

    async def finish_command(self, command_id: int, *, is_done: bool, result: str) -> None:
        """Write how a request ended."""
        await _write(command_queue.finish, command_id, is_done=is_done, result=result)

    async def record_event(self, pool_id: str, kind: str, message: str) -> None:
        """Keep what happened and why, for people; only the newest of each pool stay."""
        await _write(self._record_event, pool_id, kind, message)

    def _accounts(self) -> list[AccountSpec]:
        accounts = BrokerAccount.objects.filter(enabled=True, user__is_active=True)
        if self._account_ids is not None:
            accounts = accounts.filter(pk__in=self._account_ids)
        rows = list(accounts.select_related("config").order_by("pk"))
        groups = self._seat_groups.of(rows, self._key_file)
        return [replace(_spec_of(each), seat_group=groups.get(each.pk, "")) for each in rows]

    def _credentials(self, pool_id: str) -> Credentials:
        account = BrokerAccount.objects.filter(pk=int(pool_id)).first()
        if account is None:
            raise BrokerConfigError(f"account {pool_id} does not exist any more")
        version, values = account.credentials_version, dict[str, str]()
        if account.credentials:
            values = account.credentials_in_clear(CredentialOpener.from_file(self._key_file))
        expiry = account.expiry_of(values)
        if expiry != account.credentials_expire:
            # Only the whole credential tells; a form may have brought a part of it.
            self._expiries[account.pk] = (version, expiry)
        return Credentials(values=values, version=version)

    def _resolve(
        self, broker: str, keys: Sequence[InstrumentKey]
    ) -> dict[InstrumentKey, InstrumentValue]:
        found: dict[InstrumentKey, InstrumentValue] = {}
        for exchange, symbols in _by_exchange(keys):
            rows = Instrument.objects.filter(
                broker=broker, exchange=exchange, symbol__in=symbols
            ).exclude(tier=SearchTier.EXPIRED)
            for symbol, token in rows.values_list("symbol", "broker_token"):
                key = InstrumentKey(exchange, symbol)
                found[key] = InstrumentValue(key=key, broker_token=token)
        return found

    def _save_status(self, worker_id: str, epoch: int, stats: Sequence[PoolStats]) -> None:
        self._save_expiries()
        now = timezone.now()
        rows = [self._status_row(worker_id, epoch, each, now) for each in stats]
        columns = [
            field.name
            for field in PoolStatus._meta.concrete_fields
            if field.name not in ("id", "account")
        ]

        def write(rows: Sequence[PoolStatus]) -> None:
            with transaction.atomic():
                existing = existing_accounts(row.account_id for row in rows)
                existing -= self._kept_by_elders(worker_id, epoch, existing, now)
                kept = [row for row in rows if row.account_id in existing]
                events = self._states.events_for(kept)
                PoolStatus.objects.bulk_create(
                    kept,
                    update_conflicts=True,
                    unique_fields=["account"],
                    update_fields=columns,
                )
                PoolEvent.objects.bulk_create(events, batch_size=100)
            self._states.noted(kept)
            self._prune_events(event.account_id for event in events)

        write_apart(rows, write, "a pool's status")
        served = {row.account_id for row in rows}
        PoolEvent.objects.bulk_create(self._states.events_of_left(served, now), batch_size=100)
        self._states.keep(served)

    def _kept_by_elders(
        self, worker_id: str, epoch: int, account_ids: Collection[int], now: datetime
    ) -> set[int]:
        """Return the accounts whose row is a living elder worker's."""
        if self._elders_of is None:
            return set()
        fresh = PoolStatus.objects.alive(now).exclude(owner=worker_id).defer("stats")
        elders = [
            row
            for row in fresh.filter(epoch__lte=epoch)
            if (row.epoch, row.owner) < (epoch, worker_id) and row.account_id in account_ids
        ]
        return set(self._elders_of(elders)) if elders else set()

    def _save_expiries(self) -> None:
        for pk, (version, expiry) in list(self._expiries.items()):
            same = BrokerAccount.objects.filter(pk=pk, credentials_version=version)
            same.update(credentials_expire=expiry)
            if self._expiries.get(pk) == (version, expiry):
                del self._expiries[pk]

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
            reason=_storable(stats.reason)[:255],
            since=at(stats.since_ms),
            connections=stats.connected,
            max_connections=stats.max_connections,
            symbols_per_connection=stats.symbols_per_connection,
            symbols=stats.symbols,
            waiting=stats.waiting,
            used=stats.used,
            capacity=stats.capacity,
            clients=stats.clients,
            ticks_per_second=stats.ticks_per_second,
            last_frame=_moment(stats.last_frame_ms),
            last_tick=_moment(stats.last_tick_ms),
            credential_expiry=_moment(stats.credential_expiry_ms),
            applied_revision=stats.config_revision,
            applied=applied,
            heartbeat=now,
            stats={
                **_storable_stats(stats),
                "bus_port": self._bus_port,
                PoolStatus.SEAT_GROUP: self._seat_groups.fact(int(stats.pool_id)),
            },
        )

    def _save_usage(self, samples: Sequence[UsageSample]) -> None:
        write_apart(samples, write_usage, "a pool's usage")
        now = self._clock()
        if self._pruned_at is None or now - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = now
            prune(most=MOST_PRUNED)

    def _take_commands(self, worker_id: str, pool_ids: Collection[str]) -> list[TakenCommand]:
        now = self._clock()
        if self._expired_at is None or now - self._expired_at >= EXPIRE_SECONDS:
            self._expired_at = now
            command_queue.expire_old()
        taken: list[TakenCommand] = []
        for command in command_queue.take(worker_id, {int(each) for each in pool_ids}):
            try:
                verb = CommandVerb(command.verb)
            except ValueError:
                command_queue.finish(
                    command.pk,
                    is_done=False,
                    result=f"This worker does not know the verb {command.verb!r}.",
                )
                continue
            taken.append(
                TakenCommand(
                    id=command.pk,
                    pool_id=str(command.account_id),
                    verb=verb,
                    argument=command.argument,
                )
            )
        return taken

    def _record_event(self, pool_id: str, kind: str, message: str) -> None:
        account_id = int(pool_id)
        with transaction.atomic():
            if not existing_accounts([account_id]):
                return
            PoolEvent.objects.create(
                account_id=account_id, kind=kind[:64], message=_storable(message)[:500]
            )
        self._prune_events([account_id])

    def _prune_events(self, account_ids: Iterable[int]) -> None:
        """Count an event of each account, and drop those that are too many now and then."""
        for account_id in account_ids:
            self._events_since_prune[account_id] += 1
            if self._events_since_prune[account_id] >= EVENTS_BETWEEN_PRUNES:
                self._events_since_prune[account_id] = 0
                PoolEvent.prune(account_id)


def _spec_of(account: BrokerAccount) -> AccountSpec:
    """Return what a worker needs of an account; one that is not in order says what is wrong."""
    try:
        return account.to_spec()
    except BrokerConfigError as error:
        problem = str(error)
    except Exception as error:
        # Supervision point: a row that no form would store must not hide the accounts behind it.
        logger.debug("account %s cannot be read", account.pk, exc_info=error)
        problem = f"what is stored of it makes no sense ({type(error).__name__})"
    return AccountSpec(
        pool_id=account.pool_id,
        broker=account.broker,
        user_id=account.user_id,
        label=account.label,
        options=PoolOptions(),
        credentials_version=account.credentials_version,
        is_paused=account.paused,
        problem=problem,
    )


def _storable(text: str) -> str:
    """Return text that every database takes: PostgreSQL has no NUL, and brokers may send one."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _storable_stats(stats: PoolStats) -> Any:
    encoded = msgspec.json.encode(stats)
    if b"\\u0000" in encoded:
        encoded = encoded.replace(b"\\u0000", b"\\ufffd")
    return msgspec.json.decode(encoded)


def _names_revision(broker: str) -> int:
    # Every second and around every want: to have it made of models costs as much as to ask.
    with connection.cursor() as cursor:
        cursor.execute(_NAMES_REVISION, [broker])
        row = cursor.fetchone()
    return 0 if row is None else int(row[0])


def _expired(broker: str, keys: Sequence[InstrumentKey]) -> dict[InstrumentKey, date | None]:
    now = timezone.now()
    found: dict[InstrumentKey, date | None] = {}
    for exchange, symbols in _by_exchange(keys):
        rows = Instrument.objects.filter(
            broker=broker, exchange=exchange, symbol__in=symbols, tier=SearchTier.EXPIRED
        )
        last = last_expired(exchange, now)
        for symbol, expiry in rows.values_list("symbol", "expiry"):
            is_past = expiry is not None and expiry <= last
            found[InstrumentKey(exchange, symbol)] = expiry if is_past else None
    return found


def _listed(broker: str, tokens: Collection[str]) -> set[str]:
    found: set[str] = set()
    for part in portions(tokens, KEYS_PER_QUERY):
        rows = Instrument.objects.filter(broker=broker, broker_token__in=part)
        rows = rows.exclude(tier=SearchTier.EXPIRED)
        found.update(rows.values_list("broker_token", flat=True))
    return found


async def _write(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    with _failures():
        return await in_database(function, *args, **kwargs)


async def _read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    with _failures():
        return await from_database(function, *args, **kwargs)


async def _look_up(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            return await _read(function, *args, **kwargs)
    except TimeoutError as error:
        words = f"the database did not answer within {LOOK_UP_SECONDS:g} s"
        raise StoreUnavailableError(words) from error


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except Error as error:
        raise StoreUnavailableError(named_error(error)) from error


def _by_exchange(keys: Sequence[InstrumentKey]) -> Iterator[tuple[str, list[str]]]:
    """Yield the symbols of each exchange, in portions that fit one statement."""
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for exchange, symbol in keys:
        grouped[exchange].append(symbol)
    for exchange, symbols in grouped.items():
        for part in portions(symbols, KEYS_PER_QUERY):
            yield exchange, part


def _moment(epoch_ms: int | None) -> datetime | None:
    return None if epoch_ms is None else at(epoch_ms)
