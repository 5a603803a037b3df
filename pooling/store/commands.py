"""Asking a pool for something: the one way in for the admin, the command line and the API.

::

    command = command_queue.submit(account, PoolCommand.Verb.RECONNECT, argument={"slot": 1},
                                   user=request.user, source=PoolCommand.Source.ADMIN)
    command = command_queue.wait_for(command)
    message = command.result          # a sentence for people, whatever ``command.state`` is

``submit`` stores the request; the worker that has the pool takes it within about a second and
writes what came of it. Callers check permissions themselves. Everything here is blocking and runs
in a thread that may use the database.

================ ============================================ ======================================
verb             argument                                     what it does
================ ============================================ ======================================
PAUSE            none                                         closes the pool's sockets until RESUME
RESUME           none                                         opens them again
RECONNECT        ``{"slot": n}``; none: every connection      opens the connection again
DRAIN            ``{"slot": n}``                              moves what it can, then closes it
REBALANCE        none                                         moves symbols onto few connections
UNSUBSCRIBE      ``{"keys": [["NSE", "INFY"], ...]}``         all holders lose these instruments
PREVIEW          ``{"max_connections": n,                     says what these limits would drop, and
                 "symbols_per_connection": n}``, and          changes nothing
                 ``"settings"`` of the broker, if others
================ ============================================ ======================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from pooling.exceptions import CommandRefusedError
from pooling.models import BrokerAccount, PoolCommand, PoolStatus

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = [
    "COMMAND_KEPT_WAITING",
    "MAX_KEYS",
    "expire_old",
    "finish",
    "submit",
    "take",
    "wait_for",
]

COMMAND_KEPT_WAITING = timedelta(seconds=60)
MAX_KEYS = 1000
MAX_WAITING_PER_ACCOUNT = 20
MAX_NAME_LENGTH = 64
MAX_SLOT = 9_999
MAX_SETTINGS = 100
MAX_SETTING_LENGTH = 200
PREVIEWED = ("max_connections", "symbols_per_connection")
MAX_TAKEN = 50  # of one look; the rest follows at the next
POLL_SECONDS = 0.1

Verb = PoolCommand.Verb
State = PoolCommand.State

_NEEDS_SOCKETS = frozenset({Verb.RECONNECT, Verb.DRAIN, Verb.REBALANCE})
_NO_WORKER = (
    "No worker serves this pool now; start one with `python manage.py runpool`. "
    "The request is carried out if one starts within a minute."
)
_NO_WORKER_FLAG = (
    "No worker serves this pool now; it is {} as soon as one starts (`python manage.py runpool`)."
)


def submit(
    account: BrokerAccount,
    verb: str,
    *,
    argument: Mapping[str, Any] | None = None,
    user: User | None = None,
    source: str,
) -> PoolCommand:
    """Store a request to the pool of ``account`` and return it, waiting.

    PAUSE and RESUME are remembered at the account in the same transaction: they hold even when no
    worker is there.

    Args:
        account: whose pool it is for; saved.
        verb: one of ``PoolCommand.Verb``.
        argument: see the table above; None is the same as an empty one.
        user: who asks; None: nobody who has a name here.
        source: one of ``PoolCommand.Source``.

    Raises:
        CommandRefusedError: it cannot be done; the text says what mends it. Nothing was stored.
    """
    known = _verb(verb)
    if source not in PoolCommand.Source.values:
        raise CommandRefusedError(f"The source is one of {', '.join(PoolCommand.Source.values)}.")
    checked = _checked(known, argument or {})
    expire_old()
    with transaction.atomic():
        # Locked, so that two people who pause and resume at once leave the later one's wish.
        current = BrokerAccount.objects.select_for_update().filter(pk=account.pk).first()
        if current is None:
            raise CommandRefusedError("This account does not exist any more.")
        _check_state(current, known)
        if known in (Verb.PAUSE, Verb.RESUME):
            current.paused = known is Verb.PAUSE
            BrokerAccount.objects.filter(pk=current.pk).update(paused=current.paused)
            account.paused = current.paused
        return PoolCommand.objects.create(
            account=account, verb=known, argument=checked, requested_by=user, source=source
        )


def wait_for(
    command: PoolCommand,
    timeout_seconds: float = 5.0,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> PoolCommand:
    """Return the command as it is once it has ended, or after ``timeout_seconds``.

    Returns at once where no worker has the pool. ``result`` is a sentence in every case; that of a
    command that still waits is not stored.
    """
    deadline = clock() + timeout_seconds
    while True:
        current = PoolCommand.objects.select_related("account").get(pk=command.pk)
        if current.is_finished:
            return current
        if not PoolStatus.objects.has_worker(current.account_id):
            expire_old()
            current.refresh_from_db()
            if not current.is_finished:
                current.result = _no_worker(current)
            return current
        if clock() >= deadline:
            current.result = (
                f"The worker has not said within {timeout_seconds:g} s how it went; "
                "look at the pool's commands a little later."
            )
            return current
        sleep(POLL_SECONDS)


def take(
    worker_id: str, account_ids: Collection[int], now: datetime | None = None
) -> list[PoolCommand]:
    """Take what waits for the pools of a worker, oldest first; nobody else gets it then.

    One cheap query while nothing waits.
    """
    moment = now or timezone.now()
    waiting = PoolCommand.objects.filter(
        state=State.WAITING, taken=None, requested__gt=moment - COMMAND_KEPT_WAITING
    )
    rows = waiting.order_by("pk").values_list("pk", "account_id")
    mine = [pk for pk, account_id in rows if account_id in account_ids][:MAX_TAKEN]
    taken = []
    for pk in mine:
        row = PoolCommand.objects.filter(pk=pk, state=State.WAITING, taken=None)
        if row.update(taken=moment, taken_by=worker_id[:128]):
            taken.append(pk)
    return list(PoolCommand.objects.filter(pk__in=taken).order_by("pk")) if taken else []


def finish(command_id: int, *, is_done: bool, result: str, now: datetime | None = None) -> bool:
    """Write how a command ended; False when it had ended before, as one that took too long."""
    open_command = PoolCommand.objects.filter(pk=command_id, state=State.WAITING)
    return bool(
        open_command.update(
            state=State.DONE if is_done else State.FAILED,
            finished=now or timezone.now(),
            result=result[:500],
        )
    )


def expire_old(now: datetime | None = None) -> int:
    """End what nobody took, or nobody finished, within a minute; returns how many."""
    moment = now or timezone.now()
    before = moment - COMMAND_KEPT_WAITING
    waiting = PoolCommand.objects.filter(state=State.WAITING)
    flags = waiting.filter(taken=None, requested__lte=before, verb__in=(Verb.PAUSE, Verb.RESUME))
    untaken = waiting.filter(taken=None, requested__lte=before)
    unfinished = waiting.filter(taken__lte=before)
    return sum(
        rows.update(state=State.EXPIRED, finished=moment, result=result)
        for rows, result in (
            (
                flags,
                "No worker took this within a minute. The account remembers it, so it holds once "
                "a worker starts.",
            ),
            (untaken, "No worker took this within a minute; nothing was done. Ask again."),
            (unfinished, "The worker that took this ended before it said how it went."),
        )
    )


def _verb(verb: str) -> PoolCommand.Verb:
    try:
        return PoolCommand.Verb(verb)
    except ValueError:
        verbs = ", ".join(PoolCommand.Verb.values)
        raise CommandRefusedError(f"{str(verb)[:40]!r} is none of {verbs}.") from None


def _check_state(account: BrokerAccount, verb: PoolCommand.Verb) -> None:
    if not account.enabled:
        raise CommandRefusedError("This account is not enabled; enable it first.")
    if account.paused and verb in _NEEDS_SOCKETS:
        raise CommandRefusedError("This pool is paused and has no connections; resume it first.")
    waiting = PoolCommand.objects.filter(account=account, state=State.WAITING).count()
    if waiting >= MAX_WAITING_PER_ACCOUNT:
        raise CommandRefusedError(
            f"{waiting} requests to this pool wait already; wait until some are done. "
            "If none ever is, no worker is running: start one with `python manage.py runpool`."
        )


def _checked(verb: PoolCommand.Verb, argument: Mapping[str, Any]) -> dict[str, Any]:
    """Return the argument as it is stored. Raises CommandRefusedError."""
    takes = {
        Verb.RECONNECT: {"slot"},
        Verb.DRAIN: {"slot"},
        Verb.UNSUBSCRIBE: {"keys"},
        Verb.PREVIEW: {*PREVIEWED, "settings"},
    }.get(verb, set())
    if not isinstance(argument, Mapping) or not set(argument) <= takes:
        names = " and ".join(sorted(takes))
        raise CommandRefusedError(
            f"{verb} takes {names} and nothing else." if takes else f"{verb} takes no argument."
        )
    if verb is Verb.UNSUBSCRIBE:
        return {"keys": _checked_keys(argument.get("keys"))}
    if verb is Verb.PREVIEW:
        limits = {name: argument.get(name) for name in PREVIEWED}
        if any(type(limit) is not int or limit < 1 for limit in limits.values()):
            raise CommandRefusedError("Name both limits, each as a number of 1 or more.")
        if "settings" not in argument:
            return limits
        return {**limits, "settings": _checked_settings(argument["settings"])}
    if "slot" in argument:
        slot = argument["slot"]
        if type(slot) is not int or not 1 <= slot <= MAX_SLOT:
            raise CommandRefusedError("The slot is the number of a connection, 1 or larger.")
        return {"slot": slot}
    if verb is Verb.DRAIN:
        raise CommandRefusedError("Name the connection to drain by its slot.")
    return {}


def _checked_settings(settings: object) -> dict[str, Any]:
    if (
        isinstance(settings, Mapping)
        and len(settings) <= MAX_SETTINGS
        and all(len(str(name)) <= MAX_NAME_LENGTH for name in settings)
        and all(
            isinstance(value, bool | int | float | str) and len(str(value)) <= MAX_SETTING_LENGTH
            for value in settings.values()
        )
    ):
        return dict(settings)
    raise CommandRefusedError("Name the settings as an object of names and values.")


def _checked_keys(keys: object) -> list[list[str]]:
    if not isinstance(keys, Sequence) or isinstance(keys, str | bytes) or not keys:
        raise CommandRefusedError("Name the instruments as a list of [exchange, symbol].")
    if len(keys) > MAX_KEYS:
        raise CommandRefusedError(f"Name at most {MAX_KEYS} instruments at a time.")
    return [_checked_key(key) for key in keys]


def _checked_key(key: object) -> list[str]:
    if isinstance(key, Sequence) and not isinstance(key, str | bytes) and len(key) == 2:
        exchange, symbol = key
        if all(
            isinstance(part, str) and 0 < len(part) <= MAX_NAME_LENGTH
            for part in (exchange, symbol)
        ):
            return [exchange, symbol]
    raise CommandRefusedError(
        f"{str(key)[:80]} is not an instrument: write exchange and symbol, as in NSE and INFY."
    )


def _no_worker(command: PoolCommand) -> str:
    if command.verb == Verb.PAUSE:
        return _NO_WORKER_FLAG.format("kept paused")
    if command.verb == Verb.RESUME:
        return _NO_WORKER_FLAG.format("resumed")
    return _NO_WORKER
