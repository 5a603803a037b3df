"""Logging in at a broker, as a person begins it: the one way in for pages, commands and the API.

The worker does the asking (``pooling/login/desk.py``); here an attempt begins, a browser comes
back, and what a login needs is kept. Callers check first whose account it is. Everything here is
blocking and runs in a thread that may use the database.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from brokers.login.contract import (
    BrokerLogin,
    Code,
    Granted,
    LoginField,
    LoginKind,
    Refused,
)
from brokers.times.moments import clock_text
from pooling import conf
from pooling.exceptions import CommandRefusedError
from pooling.keys.crypto import Seals, load_sealer
from pooling.keys.files import KeyFileError
from pooling.login.bounds import AT_ONCE_PER_USER, PER_ACCOUNT, PER_USER, UNATTENDED, Bound
from pooling.login.states import OPEN_STATES, WORKERS_STATES, AttemptKind, AttemptState
from pooling.models import BrokerAccount, LoginAttempt, LoginSetup, PoolStatus
from pooling.models.logins import LATE, WORKER_TIME, LoginAttemptQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = [
    "Begun",
    "begin_browser",
    "begin_unattended",
    "come_back",
    "go_on",
    "is_elsewhere",
    "keep_fields",
    "login_setup",
    "missing_fields",
    "prove",
    "submit_code",
    "test_credential",
]

MAX_PARAMETER: Final = 4096
NEW_FOR: Final = timedelta(seconds=60)
PATIENCE_SECONDS: Final = 6.0
POLL_SECONDS: Final = 0.2
NO_WORKER: Final = (
    "No worker serves this account now, and only a worker can finish the login: start one with "
    "`python manage.py runpool`, then log in."
)
UNKNOWN: Final = (
    "This login was not begun here, was used already, took too long, or was begun in another "
    "browser: nothing was stored. Log in from the Brokers page."
)
CAME_LATE: Final = "You came back too late, and the broker's code has ended. Log in again."


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that was begun, and where the browser goes ("": it has to wait for that)."""

    attempt: LoginAttempt
    url: str = field(repr=False)


def login_setup(account: BrokerAccount) -> LoginSetup:
    """Return what the account keeps for its login, a new one that is not saved if there is none."""
    try:
        return account.login
    except LoginSetup.DoesNotExist:
        return LoginSetup(account=account)


def is_elsewhere(setup: LoginSetup) -> bool:
    """Whether a credential of the account's feed would be tried at a place that is not its own."""
    return bool(setup.account.endpoint) != bool(setup.endpoint)


def missing_fields(setup: LoginSetup, kind: LoginKind) -> list[LoginField]:
    """Return what that kind of login still asks for."""
    login = setup.login()
    fields = login.fields.get(kind, ()) if login else ()
    kept = {*setup.public, *setup.secrets}
    return [each for each in fields if each.name not in kept and not each.is_optional]


def keep_fields(account: BrokerAccount, values: Mapping[str, str]) -> LoginSetup:
    """Keep values for the login; those not named stay. What is secret is sealed.

    Raises:
        CommandRefusedError: there is no key to seal with.
    """
    sealer = _sealer()
    with transaction.atomic():
        # Read under the lock: what was read before may be older than what was stored since.
        setup = login_setup(BrokerAccount.objects.select_for_update().get(pk=account.pk))
        setup.keep(values, sealer)
        setup.save_settings()
    account.login = setup
    return setup


def begin_browser(
    account: BrokerAccount, *, user: User, session_key: str, redirect_uri: str
) -> Begun:
    """Begin a login at the broker's page; an older one of the account that is away ends.

    Args:
        account: whose credential it will be.
        user: who begins it, and has to come back.
        session_key: of the browser that has to come back.
        redirect_uri: where the broker sends it to, as it is registered there.

    Raises:
        CommandRefusedError: it cannot be begun; the text says what mends it.
    """
    setup, login = _ready(account, LoginKind.BROWSER)
    if problem := login.redirect_problem(redirect_uri):
        raise CommandRefusedError(problem)
    state = secrets.token_urlsafe(32)
    attempt = _new_attempt(
        account,
        user=user,
        kind=AttemptKind.BROWSER,
        state=AttemptState.PREPARING if login.needs_preparing else AttemptState.AWAY,
        state_hash=_hash(state),
        session_hash=_hash(session_key),
        redirect_uri=redirect_uri,
        deadline=timezone.now() + timedelta(seconds=login.attempt_seconds),
    )
    if login.needs_preparing:
        return Begun(attempt, "")
    return Begun(attempt, login.page(setup.public, state=state, redirect_uri=redirect_uri))


def go_on(attempt: LoginAttempt) -> str:
    """Return where the browser of a prepared attempt goes; "": the worker has not asked yet."""
    if attempt.state != AttemptState.AWAY or not attempt.prepared:
        return ""
    setup = login_setup(attempt.account)
    login = setup.login()
    if login is None:
        return ""
    return login.page(
        setup.public, state="", redirect_uri=attempt.redirect_uri, prepared=attempt.prepared
    )


def begin_unattended(account: BrokerAccount, *, user: User | None) -> LoginAttempt:
    """Log in with PIN and TOTP now. Raises CommandRefusedError."""
    _ready(account, LoginKind.UNATTENDED)
    return _new_attempt(
        account,
        user=user,
        kind=AttemptKind.UNATTENDED,
        state=AttemptState.EXCHANGING,
        deadline=timezone.now(),
    )


def prove(
    account: BrokerAccount,
    values: Mapping[str, str],
    *,
    user: User | None,
    kind: AttemptKind = AttemptKind.PASTED,
) -> LoginAttempt:
    """Have a pasted credential or a long-lived token tried, and stored if the broker takes it.

    Raises:
        CommandRefusedError: nobody can try it now; the text says what mends it.
    """
    setup = login_setup(account)
    if setup.login() is None:
        raise CommandRefusedError(f"TickPool cannot try a credential of {account.broker}.")
    if is_elsewhere(setup):
        raise CommandRefusedError(
            "Prices and login of this account have not the same place (endpoint), and a credential "
            "of one is not sent to the other: nobody can try it."
        )
    _check_worker(account)
    return _new_attempt(
        account,
        user=user,
        kind=kind,
        state=AttemptState.EXCHANGING,
        deadline=timezone.now(),
        sealed=values,
    )


def test_credential(account: BrokerAccount, *, user: User | None) -> LoginAttempt:
    """Have the stored credential tried at the broker; it stays, whatever comes of it.

    Raises CommandRefusedError.
    """
    if not account.credentials:
        raise CommandRefusedError("There is no credential yet: log in first.")
    return prove(account, {}, user=user, kind=AttemptKind.TEST)


def submit_code(account: BrokerAccount, code: str, *, user: User | None) -> LoginAttempt:
    """Exchange a code that somebody took from the broker's address by hand.

    For a machine without a browser: whoever may store the account's credential may do this.
    Raises CommandRefusedError.
    """
    setup, _ = _ready(account, LoginKind.BROWSER)
    if not 0 < len(code) <= MAX_PARAMETER or not (code.isascii() and code.isprintable()):
        raise CommandRefusedError("That is no code: paste the one of the address you came back to.")
    last = LoginAttempt.objects.filter(account=account, kind=AttemptKind.BROWSER).first()
    return _new_attempt(
        account,
        user=user,
        kind=AttemptKind.BROWSER,
        state=AttemptState.EXCHANGING,
        redirect_uri=setup.public.get("redirect_uri", last.redirect_uri if last else ""),
        deadline=timezone.now(),
        sealed={"code": code},
    )


def come_back(
    broker: str, query: Mapping[str, list[str]], *, user: User, session_key: str
) -> LoginAttempt:
    """Take what a browser brought back from the broker's page, once.

    Returns the attempt, which goes on at the worker or has ended; its ``result`` says why.

    Args:
        broker: whose callback it is.
        query: the address's parameters, each with all of its values.
        user: who is logged in here.
        session_key: of the browser that came.

    Raises:
        CommandRefusedError: it belongs to no attempt of that browser; nothing was changed.
    """
    single = _single(query)
    candidates = list(
        LoginAttempt.objects.filter(
            user=user,
            session_hash=_hash(session_key),
            kind=AttemptKind.BROWSER,
            state=AttemptState.AWAY,
            account__broker__in=_same_callback(broker),
        ).select_related("account__login", "account__user")
    )
    for attempt in candidates:
        setup = login_setup(attempt.account)
        login = setup.login()
        if login is None:
            continue
        brought = login.callback(single, setup.public)
        if _is_for(attempt, brought, login, is_only=len(candidates) == 1):
            return _brought(attempt, setup, brought)
    raise CommandRefusedError(UNKNOWN)


def _is_for(
    attempt: LoginAttempt, brought: Code | Granted | Refused, login: BrokerLogin, *, is_only: bool
) -> bool:
    if brought.state is not None:
        return hmac.compare_digest(_hash(brought.state), attempt.state_hash)
    # Without a state: a broker that gives none back, or one that leaves it out of a refusal.
    return is_only and (not login.echoes_state or isinstance(brought, Refused))


def _brought(
    attempt: LoginAttempt, setup: LoginSetup, brought: Code | Granted | Refused
) -> LoginAttempt:
    """Use the attempt up, by one conditional UPDATE: a second return finds nothing."""
    mine = LoginAttempt.objects.filter(pk=attempt.pk, state=AttemptState.AWAY)
    now = timezone.now()
    if attempt.deadline < now:
        end = attempt.end(AttemptState.LATE, CAME_LATE)
    elif isinstance(brought, Refused):
        end = attempt.end(AttemptState.REFUSED, brought.text, brought.why)
    else:
        values = {"code": brought.value} if isinstance(brought, Code) else dict(brought.values)
        sealed = _sealer().encrypt(values, attempt.bound_to(setup))
        changed = {"state": AttemptState.EXCHANGING, "sealed": sealed, "deadline": now}
        changed |= {"told_owner": brought.owner[:64], "state_hash": "", "session_hash": ""}
        if not mine.update(**changed):
            raise CommandRefusedError(UNKNOWN)
        attempt.refresh_from_db()
        return attempt
    names = end["update_fields"]
    if not mine.update(**{name: getattr(attempt, name) for name in names}):
        raise CommandRefusedError(UNKNOWN)
    return attempt


def _ready(account: BrokerAccount, kind: LoginKind) -> tuple[LoginSetup, BrokerLogin]:
    setup = login_setup(account)
    login = setup.login()
    if login is None or kind not in login.fields:
        raise CommandRefusedError(f"There is no such login at {account.broker}.")
    if missing := missing_fields(setup, kind):
        names = ", ".join(each.label for each in missing)
        raise CommandRefusedError(f"Fill in first: {names}.")
    _check_worker(account)
    return setup, login


def _check_worker(account: BrokerAccount) -> None:
    if not account.enabled:
        raise CommandRefusedError("This account is switched off: switch it on, then log in.")
    # A worker reads its accounts every two seconds: who has just added one waits for that.
    is_new = timezone.now() - account.created < NEW_FOR
    deadline = time.monotonic() + (PATIENCE_SECONDS if is_new else 0.0)
    while not PoolStatus.objects.has_worker(account.pk):
        if time.monotonic() >= deadline:
            raise CommandRefusedError(NO_WORKER)
        time.sleep(POLL_SECONDS)


def _new_attempt(
    account: BrokerAccount, *, sealed: Mapping[str, str] | None = None, **values: object
) -> LoginAttempt:
    """Begin an attempt; those that only wait for a browser end. Raises CommandRefusedError."""
    sealer = _sealer()
    try:
        with transaction.atomic():
            BrokerAccount.objects.select_for_update().get(pk=account.pk)
            for late in LoginAttempt.objects.filter(account=account).too_late(timezone.now()):
                late.save(**late.end(AttemptState.LATE, LATE))
            for older in LoginAttempt.objects.filter(account=account, state__in=OPEN_STATES):
                if older.state == AttemptState.EXCHANGING:
                    raise CommandRefusedError("A login is under way: wait a few seconds.")
                older.save(**older.end(AttemptState.CANCELLED, "A newer login was begun."))
            _check_bounds(account, values.get("kind"))
            attempt = LoginAttempt.objects.create(account=account, **values)
            LoginAttempt.objects.forget_old(account)
            if sealed:
                attempt.sealed = sealer.encrypt(sealed, attempt.bound_to(login_setup(account)))
                attempt.save(update_fields=["sealed"])
            return attempt
    except IntegrityError:
        raise CommandRefusedError("Another login of this account was begun just now.") from None


def _check_bounds(account: BrokerAccount, kind: object) -> None:
    """Refuse one attempt more than the broker should see. Raises CommandRefusedError."""
    of_account = LoginAttempt.objects.filter(account=account)
    if kind == AttemptKind.UNATTENDED:
        _check_bound(of_account.filter(kind=AttemptKind.UNATTENDED), UNATTENDED)
    _check_bound(of_account, PER_ACCOUNT)
    of_user = LoginAttempt.objects.filter(account__user=account.user_id)
    _check_bound(of_user, PER_USER)
    # A worker carries eight out at a time, and others' have to find room among them.
    still = Q(deadline__gte=timezone.now() - WORKER_TIME)
    if of_user.filter(still, state__in=WORKERS_STATES).count() >= AT_ONCE_PER_USER:
        raise CommandRefusedError("Several of your logins are under way: wait a few seconds.")


def _check_bound(attempts: LoginAttemptQuerySet, bound: Bound) -> None:
    begun = list(attempts.order_by("-id").values_list("begun", flat=True)[: bound.most])
    if (room_at := bound.room_at(begun, timezone.now())) is not None:
        raise CommandRefusedError(bound.sentence(clock_text(timezone.localtime(room_at))))


def _sealer() -> Seals:
    try:
        return load_sealer(conf.key_file())
    except KeyFileError as error:
        raise CommandRefusedError(str(error)) from None


def _same_callback(broker: str) -> tuple[str, ...]:
    login = conf.login_of(broker)
    return (broker,) if login is None else login.brokers


def _single(query: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the parameters, each of which stands there once and is plain text.

    Raises CommandRefusedError.
    """
    for name, values in query.items():
        text = values[0] if len(values) == 1 else ""
        fits = len(values) == 1 and len(text) <= MAX_PARAMETER and len(name) <= 64
        if not fits or not all(" " <= sign <= "~" for sign in text):
            raise CommandRefusedError(
                "The broker's answer cannot be read: a part of it stands there twice, is too long, "
                "or is no plain text. Nothing was stored; log in again."
            )
    return {name: values[0] for name, values in query.items()}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
