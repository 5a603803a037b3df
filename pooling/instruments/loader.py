"""Instruments masters: from a file into the database, all or nothing; and what expires there."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import F, Max, Q, QuerySet
from django.utils import timezone

from brokers.batching import portions
from brokers.exceptions import BrokerProtocolError
from brokers.passed_over import PassedOver, Reason
from brokers.times.market_clock import closed_days, last_expired
from brokers.types import InstrumentRow
from brokers.words import counted
from pooling.exceptions import MasterTooSmallError
from pooling.instruments.names import MAX_NAME_LENGTH, named_apart
from pooling.instruments.words import name_words, underlying_of
from pooling.models import Instrument, InstrumentWord, NamesRevision, SearchTier
from pooling.progress import Progress, no_progress, reporting

__all__ = ["LoadResult", "expire_instruments", "store_instruments"]


logger = logging.getLogger(__name__)

ROWS_PER_STATEMENT = 500
ROWS_PER_LOOK = 5000
# Of the rows before: a master that lacks more is half a file, or an answer meant for nobody.
LEAST_SHARE = 0.5
# An exchange with fewer rows may well lose most of them from one day to the next.
LEAST_EXCHANGE = 100
MAX_KIND_LENGTH = 16
EXPIRED_KEPT = timedelta(days=30)
KEY = ("exchange", "symbol")
COMPARED = (
    "broker_token",
    "broker_symbol",
    "name",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "tier",
    "underlying",
)
TIER_AT = 1 + len(KEY) + COMPARED.index("tier")
TOKEN_AT = 1 + len(KEY) + COMPARED.index("broker_token")
KIND_AT = TIER_AT - 1  # without the primary key
# Any number of one's own; PostgreSQL's advisory locks are named by numbers.
LOCK = 7_240_451


class _Stored(NamedTuple):
    """A stored row, as far as a load needs it: 100,000 of them stay small."""

    pk: int
    fingerprint: int
    is_expired: bool
    token: str


_Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The result of a load. ``rows`` are listed now; ``expired`` were marked by this load.

    ``passed_over`` is what of the master was left out, and ``renamed`` how many instruments got
    their token behind a name that another has.
    """

    rows: int
    written: int
    unchanged: int
    expired: int
    passed_over: tuple[Reason, ...] = ()
    renamed: int = 0


def store_instruments(
    broker: str,
    rows: Iterable[InstrumentRow],
    progress: Progress = no_progress,
    *,
    is_forced: bool = False,
    is_strict: bool = False,
    passed: PassedOver | None = None,
    today: date | None = None,
) -> LoadResult:
    """Make ``rows`` the instruments of ``broker``, in one transaction: all or nothing.

    Rows that have not changed are not written, so the write lock is held for the difference only.
    Each has a name of its own (``instrument_names.named_apart``). Those that are no longer listed,
    or are past their expiry, are marked as expired, and deleted a month later.

    Args:
        broker: whose they are.
        rows: of the master; read to its end before anything is written.
        progress: is told how far it is.
        is_forced: take a master that has less than half of the rows of the one before, of all or
            of one exchange.
        is_strict: refuse a master with rows that should have been instruments and are none.
        passed: what the reading of ``rows`` has passed over so far, and the load adds to.
        today: what expires before it has expired; None: whatever is not traded any more, by the
            clock of its exchange.

    Raises:
        BrokerProtocolError: there is no row, a value that is none, or one too few (strict).
        MasterTooSmallError: it lacks most of what the one before had.
    """
    now = timezone.now()
    seen_at = _loaded_at(broker)
    stored = _stored(broker)
    passed = PassedOver() if passed is None else passed
    before = {key: each.token for key, each in stored.items() if not each.is_expired}
    read = reporting(rows, progress, "reading", "rows")
    changed, keys = _changed(named_apart(read, before, passed), stored, _last_expired(today, now))
    if not keys:
        raise BrokerProtocolError(f"the instruments master of {broker} has no rows")
    if is_strict and passed.faults:
        raise BrokerProtocolError(f"the instruments master of {broker}: {_faults(passed)}")
    if not is_forced:
        _check_size(broker, keys, before)
    gone = [each.pk for key, each in stored.items() if key not in keys and not each.is_expired]
    try:
        with transaction.atomic():
            _lock(broker, seen_at)
            _write(broker, changed, gone, now, progress)
    except (DataError, IntegrityError) as error:
        raise BrokerProtocolError(f"the instruments master of {broker}: {error}") from error
    result = LoadResult(
        rows=len(keys),
        written=len(changed),
        unchanged=len(keys) - len(changed),
        expired=len(gone),
        passed_over=tuple(passed.reasons.values()),
        renamed=passed.renamed.count,
    )
    logger.info(
        "broker %s: %s, %s of them new or changed, %s gone; %s cannot be used",
        broker,
        counted(result.rows, "instrument"),
        f"{result.written:,}",
        f"{result.expired:,}",
        counted(passed.faults, "row"),
    )
    return result


def _check_size(broker: str, keys: Iterable[_Key], before: Iterable[_Key]) -> None:
    """Refuse a file of which a part is missing: of all rows, or of those of one exchange."""
    now, then = (Counter(exchange for exchange, _ in each) for each in (keys, before))
    if now.total() < then.total() * LEAST_SHARE:
        raise MasterTooSmallError(broker, rows=now.total(), before=then.total())
    for exchange, count in sorted(then.items()):
        if count >= LEAST_EXCHANGE and now[exchange] < count * LEAST_SHARE:
            raise MasterTooSmallError(broker, rows=now[exchange], before=count, exchange=exchange)


def _faults(passed: PassedOver) -> str:
    faults = [reason for reason in passed.reasons.values() if reason.is_fault]
    reasons = "; ".join(f"{each.count:,} of: {each.text} ({each.examples[0]})" for each in faults)
    return f"{passed.faults:,} rows should be instruments and are none: {reasons}"


def expire_instruments(now: datetime) -> int:
    """Mark what is past its expiry by its exchange's clock; returns how many. ``now`` is aware.

    Between two loads contracts expire, too, and their tokens may be given to others.
    """
    days = closed_days(now)
    named = [name for names in days for name in names]
    past = Q()
    for names, day in days.items():
        where = Q(exchange__in=names) if names else ~Q(exchange__in=named)
        past |= where & Q(expiry__lte=day)
    with transaction.atomic():
        gone: QuerySet[Instrument] = Instrument.objects.filter(past).exclude(
            tier=SearchTier.EXPIRED
        )
        brokers = list(gone.order_by().values_list("broker", flat=True).distinct())
        marked = gone.update(tier=SearchTier.EXPIRED)
        for broker in brokers:
            _note_change(broker, now)
    return marked


def _note_change(broker: str, now: datetime) -> None:
    """Tell workers that names may mean something else now."""
    NamesRevision.objects.get_or_create(broker=broker, defaults={"changed": now})
    NamesRevision.objects.filter(broker=broker).update(revision=F("revision") + 1, changed=now)


def _last_expired(today: date | None, now: datetime) -> Callable[[str], date]:
    if today is None:
        return lambda exchange: last_expired(exchange, now)
    yesterday = today - timedelta(days=1)
    return lambda exchange: yesterday


def _loaded_at(broker: str) -> datetime | None:
    newest: datetime | None = Instrument.objects.filter(broker=broker).aggregate(at=Max("loaded"))[
        "at"
    ]
    return newest


def _stored(broker: str) -> dict[_Key, _Stored]:
    rows = Instrument.objects.filter(broker=broker).values_list("pk", *KEY, *COMPARED)
    return {
        (row[1], row[2]): _Stored(
            row[0], hash(row[3:]), row[TIER_AT] == SearchTier.EXPIRED, row[TOKEN_AT]
        )
        for row in _by_primary_key(rows)
    }


def _by_primary_key(rows: QuerySet[Any, tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield rows that begin with their primary key, a few at a time, without a cursor kept open.

    A pooler between here and the server would lose the cursor.
    """
    last = 0
    while portion := list(rows.filter(pk__gt=last).order_by("pk")[:ROWS_PER_LOOK]):
        yield from portion
        last = portion[-1][0]


def _changed(
    rows: Iterable[tuple[InstrumentRow, str]],
    stored: dict[_Key, _Stored],
    expired: Callable[[str], date],
) -> tuple[list[tuple[Any, ...]], set[_Key]]:
    """Return the values that differ from what is stored, and the keys of all rows."""
    changed: list[tuple[Any, ...]] = []
    keys: set[_Key] = set()
    for row, symbol in rows:
        key = (row.exchange, row.symbol)
        keys.add(key)
        try:
            values = _values(row, symbol, expired(row.exchange))
        except ValueError as error:
            raise BrokerProtocolError(f"{row.exchange}:{row.symbol}: {error}") from error
        known = stored.get(key)
        if known is None or known.fingerprint != hash(values):
            changed.append(key + values)
    return changed, keys


def _values(row: InstrumentRow, symbol: str, last: date) -> tuple[Any, ...]:
    """Return the values of ``COMPARED``; ``symbol`` is the name without anything behind it."""
    expiry = date.fromisoformat(row.expiry) if row.expiry else None
    kind = SearchTier.of(row.instrument_type)
    is_past = expiry is not None and expiry <= last
    return (
        row.broker_token,
        row.broker_symbol,
        row.name.upper()[:MAX_NAME_LENGTH],
        expiry,
        _number(row.strike),
        _number(row.tick_size),
        _number(row.lot_size),
        row.instrument_type[:MAX_KIND_LENGTH],
        int(SearchTier.EXPIRED if is_past else kind),
        "" if kind is SearchTier.CASH else underlying_of(symbol),
    )


def _lock(broker: str, seen_at: datetime | None) -> None:
    """Make sure that nobody else has loaded, or can load, what this load was compared with."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    if _loaded_at(broker) != seen_at:
        raise BrokerProtocolError(
            f"instruments of {broker} were loaded by another process meanwhile; its rows stay"
        )


def _write(
    broker: str,
    changed: Sequence[tuple[Any, ...]],
    gone: Sequence[int],
    now: datetime,
    progress: Progress,
) -> None:
    mine = Instrument.objects.filter(broker=broker)
    for part in portions(gone, ROWS_PER_STATEMENT):
        Instrument.objects.filter(pk__in=part).update(tier=SearchTier.EXPIRED)
    mine.exclude(tier=SearchTier.EXPIRED).update(loaded=now)
    done = 0
    for values in portions(changed, ROWS_PER_STATEMENT):
        progress("storing", done, len(changed), "rows")
        Instrument.objects.bulk_create(
            _instruments(broker, values, now),
            update_conflicts=True,
            unique_fields=["broker", *KEY],
            update_fields=[*COMPARED, "loaded"],
        )
        _write_words(broker, values)
        done += len(values)
    progress("storing", done, done, "rows")
    mine.filter(tier=SearchTier.EXPIRED, loaded__lt=now - EXPIRED_KEPT).delete()
    if changed or gone:
        _note_change(broker, now)
    _tell_planner()


def _tell_planner() -> None:
    """Have PostgreSQL count what is there now: its own round comes a minute into the searches."""
    if connection.vendor == "postgresql":
        tables = [Instrument._meta.db_table, InstrumentWord._meta.db_table]
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {', '.join(map(connection.ops.quote_name, tables))}")


def _write_words(broker: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Replace the words of those that are found by a word of their name."""
    symbols = [row[1] for row in rows if row[KIND_AT] == SearchTier.CASH]
    cash = Instrument.objects.filter(broker=broker, symbol__in=symbols, tier=SearchTier.CASH)
    named = list(cash.values_list("pk", "name"))
    InstrumentWord.objects.filter(instrument__in=[pk for pk, _ in named]).delete()
    InstrumentWord.objects.bulk_create(
        InstrumentWord(instrument_id=pk, broker=broker, word=word)
        for pk, name in named
        for word in name_words(name)
    )


def _instruments(
    broker: str, rows: Iterable[tuple[Any, ...]], now: datetime
) -> Iterator[Instrument]:
    for row in rows:
        fields = dict(zip((*KEY, *COMPARED), row, strict=True))
        yield Instrument(broker=broker, loaded=now, **fields)


def _number(text: str) -> float | None:
    return float(text) if text else None
