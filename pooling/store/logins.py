"""``LoginStore`` on Django's database: attempts taken by workers, and what was granted.

A credential is opened and sealed here only, in the worker's process. Where feeds of one user share
a credential, all of them get it in one transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import ParamSpec

from django.db import Error, IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from brokers.login.contract import Granted, LoginKind, Refusal, Refused
from brokers.words import named_error
from pooling.calendar.days import TradingDays
from pooling.exceptions import StoreUnavailableError
from pooling.keys.crypto import load_sealer
from pooling.keys.files import KeyFileError
from pooling.keys.opening import CredentialOpener
from pooling.login import schedule
from pooling.login.contracts import DailyLogin, PastTry, TakenLogin
from pooling.login.states import WORKERS_STATES, AttemptKind, AttemptState
from pooling.models import (
    BrokerAccount,
    LoginAttempt,
    LoginSetup,
    PoolStatus,
    trading_days,
)
from pooling.models.logins import LATE, LoginAttemptQuerySet
from pooling.store.database import from_database, in_database

__all__ = ["DjangoLoginStore"]

P = ParamSpec("P")

LOOKED_BACK = timedelta(days=4)  # for tries that say that a person must act
MAX_SHARED = 20  # accounts that one credential is given to


class DjangoLoginStore:
    """Attempts and credentials in the site's database. Every coroutine raises
    StoreUnavailableError while that fails. Safe to use from one loop.

    Args:
        key_file: the keys of stored credentials and secrets.
    """

    def __init__(self, *, key_file: Path) -> None:
        self._key_file = key_file

    async def take(
        self, worker_id: str, pool_ids: Collection[str], most: int
    ) -> Sequence[TakenLogin]:
        """See ``LoginStore.take``. Nothing is written while nothing waits."""
        try:
            if not await from_database(_is_waiting, pool_ids):
                return ()
            return await in_database(self._take, worker_id, pool_ids, most)
        except Error as error:
            raise StoreUnavailableError(named_error(error)) from error

    async def prepared(self, attempt_id: int, name: str) -> None:
        """See ``LoginStore.prepared``."""
        await _write(_prepared, attempt_id, name)

    async def sends_totp(self, attempt_id: int, counter: int) -> None:
        """See ``LoginStore.sends_totp``."""
        await _write(_sends_totp, attempt_id, counter)

    async def finish(self, attempt_id: int, result: Granted | Refused) -> None:
        """See ``LoginStore.finish``."""
        await _write(self._finish, attempt_id, result)

    async def trading_days(self) -> TradingDays:
        """See ``LoginStore.trading_days``."""
        try:
            return await from_database(trading_days)
        except Error as error:
            raise StoreUnavailableError(named_error(error)) from error

    async def daily(self, pool_ids: Collection[str]) -> Sequence[DailyLogin]:
        """See ``LoginStore.daily``."""
        try:
            return await from_database(_daily, pool_ids)
        except Error as error:
            raise StoreUnavailableError(named_error(error)) from error

    async def begin_daily(self, account_id: int) -> None:
        """See ``LoginStore.begin_daily``."""
        await _write(_begin_daily, account_id)

    def _take(self, worker_id: str, pool_ids: Collection[str], most: int) -> Sequence[TakenLogin]:
        taken = []
        now = timezone.now()
        for attempt in _of(pool_ids).too_late(now):
            attempt.save(**attempt.end(AttemptState.LATE, LATE))
        waiting = _of(pool_ids).filter(taken=None, state__in=WORKERS_STATES).order_by("id")
        for attempt_id in waiting.values_list("pk", flat=True)[:most]:
            mine = LoginAttempt.objects.filter(pk=attempt_id, taken=None, state__in=WORKERS_STATES)
            if not mine.update(taken=now, taken_by=worker_id):
                continue
            attempt = LoginAttempt.objects.select_related("account__login").get(pk=attempt_id)
            taken.append(self._opened(attempt))
        return taken

    def _opened(self, attempt: LoginAttempt) -> TakenLogin:
        setup = getattr(attempt.account, "login", None) or LoginSetup(account=attempt.account)
        kept: Mapping[str, str] = {}
        sealed: dict[str, str] = {}
        trouble = ""
        try:
            opener = CredentialOpener.from_file(self._key_file)
            kept = setup.kept_in_clear(opener, _needed(setup, AttemptKind(attempt.kind)))
            sealed = opener.decrypt(attempt.sealed, attempt.bound_to(setup))
            # The parts that were not pasted stay; a test is of all that is stored.
            if attempt.kind in (AttemptKind.PASTED, AttemptKind.TEST):
                others = attempt.account.credentials_in_clear(opener, without=sealed)
                sealed = {**others, **sealed}
        except (BrokerConfigError, KeyFileError) as error:
            trouble = f"What is stored for the login cannot be opened: {error}"
        return TakenLogin(
            attempt_id=attempt.pk,
            pool_id=attempt.account.pool_id,
            broker=attempt.account.broker,
            kind=AttemptKind(attempt.kind),
            user_id=attempt.account.user_id,
            base_url=setup.endpoint,
            redirect_uri=attempt.redirect_uri,
            owner=setup.owner,
            told_owner=attempt.told_owner,
            totp_counter=setup.totp_counter,
            is_preparing=attempt.state == AttemptState.PREPARING,
            trouble=trouble,
            kept=kept,
            code=sealed.get("code", ""),
            values={name: text for name, text in sealed.items() if name != "code"},
        )

    def _finish(self, attempt_id: int, result: Granted | Refused) -> None:
        with transaction.atomic():
            attempt = (
                LoginAttempt.objects.select_for_update()
                .select_related("account")
                .filter(pk=attempt_id)
                .first()
            )
            if attempt is None or not _may_end(attempt, result):
                return  # the account was deleted, or somebody gave it up meanwhile
            if isinstance(result, Refused):
                attempt.save(**attempt.end(AttemptState.REFUSED, result.text, result.why))
                _stop_if_final(attempt)
            else:
                is_test = attempt.kind == AttemptKind.TEST
                words = _taken(result) if is_test else self._store(attempt.account, result)
                attempt.save(**attempt.end(AttemptState.GRANTED, words))
                _may_begin_again(attempt)
        LoginAttempt.objects.forget_old(attempt.account)

    def _store(self, account: BrokerAccount, granted: Granted) -> str:
        """Store what was granted, for every account that shares it; return a sentence of it."""
        try:
            sealer = load_sealer(self._key_file)
        except KeyFileError as error:
            raise StoreUnavailableError(str(error)) from None
        setup, _ = LoginSetup.objects.get_or_create(account=account)
        if granted.owner and not setup.owner:
            setup.owner = granted.owner[:64]
            setup.save(update_fields=["owner", "changed"])
        for each in self._sharing(account, setup, granted):
            known = {field.name for field in each.capabilities().credential_fields}
            each.set_credentials(
                {name: text for name, text in granted.values.items() if name in known}, sealer
            )
            if granted.ends_at is not None:
                each.credentials_expire = granted.ends_at
            each.save(update_fields=BrokerAccount.CREDENTIAL_COLUMNS)
        words = f"Logged in as {granted.owner}." if granted.owner else "Logged in."
        return f"{words} {granted.warning}".strip()

    def _sharing(
        self, account: BrokerAccount, setup: LoginSetup, granted: Granted
    ) -> list[BrokerAccount]:
        """Return the accounts that get it: this one, and the user's whose credential it ends."""
        login = setup.login()
        names = (account.broker,) if login is None else login.brokers
        others = BrokerAccount.objects.select_for_update().filter(user=account.user_id)
        found = others.filter(broker__in=names).order_by("id")[:MAX_SHARED]
        return [each for each in found if each.pk == account.pk or self._shares(each, granted)]

    def _shares(self, account: BrokerAccount, granted: Granted) -> bool:
        """Whether an account's credential is of the same user of the broker as what was granted."""
        name = account.capabilities().connections_count_by
        if not name or name not in granted.values:
            return False
        try:
            stored = account.credentials_in_clear(CredentialOpener.from_file(self._key_file))
        except (BrokerConfigError, KeyFileError):
            return False
        return stored.get(name) == granted.values[name]


def _needed(setup: LoginSetup, kind: AttemptKind) -> frozenset[str]:
    """Return the names of what a login of that kind needs of what the account keeps for it."""
    login = setup.login()
    if login is None or kind not in (AttemptKind.BROWSER, AttemptKind.UNATTENDED):
        return frozenset()
    return frozenset(each.name for each in login.fields.get(LoginKind(kind), ()))


def _taken(granted: Granted) -> str:
    whose = f" of {granted.owner}" if granted.owner else ""
    return f"The broker takes the stored credential{whose}. {granted.warning}".strip()


def _of(pool_ids: Collection[str]) -> LoginAttemptQuerySet:
    return LoginAttempt.objects.filter(account__in=[int(each) for each in pool_ids])


def _is_waiting(pool_ids: Collection[str]) -> bool:
    mine = _of(pool_ids)
    waiting = mine.filter(taken=None, state__in=WORKERS_STATES)
    return waiting.exists() or mine.too_late(timezone.now()).exists()


def _prepared(attempt_id: int, name: str) -> None:
    LoginAttempt.objects.filter(pk=attempt_id, state=AttemptState.PREPARING).update(
        state=AttemptState.AWAY, prepared=name[:255], taken=None, taken_by=""
    )


def _sends_totp(attempt_id: int, counter: int) -> None:
    LoginSetup.objects.filter(account__login_attempts=attempt_id).update(totp_counter=counter)


def _stop_if_final(attempt: LoginAttempt) -> None:
    """Remember that no unattended login is made any more, until a person has acted."""
    if attempt.kind != AttemptKind.UNATTENDED or attempt.why in schedule.ALONE:
        return
    if schedule.must_stop(_tries([attempt.account_id])[attempt.account_id]):
        LoginSetup.objects.filter(account=attempt.account_id).update(stopped=attempt.result)


def _may_end(attempt: LoginAttempt, result: Granted | Refused) -> bool:
    """Whether an attempt ends so. One that was taken for lost may have been granted after all."""
    if attempt.is_open:
        return True
    is_late = attempt.state == AttemptState.LATE and isinstance(result, Granted)
    of_it = LoginAttempt.objects.filter(account=attempt.account_id)
    return is_late and not of_it.filter(pk__gt=attempt.pk).exists()


def _may_begin_again(attempt: LoginAttempt) -> None:
    """Forget why no unattended login was made, once one has worked."""
    if attempt.kind == AttemptKind.UNATTENDED:
        LoginSetup.objects.filter(account=attempt.account_id).update(stopped="")


def _tries(account_ids: Sequence[int]) -> Mapping[int, tuple[PastTry, ...]]:
    # What was refused before something else was stored says nothing of that.
    is_of_now = Q(state=AttemptState.GRANTED) | Q(begun__gte=F("account__login__changed"))
    rows = LoginAttempt.objects.filter(
        is_of_now,
        account__in=account_ids,
        kind=AttemptKind.UNATTENDED,
        begun__gt=timezone.now() - LOOKED_BACK,
        finished__isnull=False,
    ).order_by("id")
    found: defaultdict[int, tuple[PastTry, ...]] = defaultdict(tuple)
    for row in rows.values("account_id", "begun", "why", "state"):
        is_granted = row["state"] == AttemptState.GRANTED
        why = None if is_granted else Refusal(row["why"] or Refusal.DOWN)
        found[row["account_id"]] += (PastTry(row["begun"], why),)
    return found


def _daily(pool_ids: Collection[str]) -> Sequence[DailyLogin]:
    setups = list(
        LoginSetup.objects.filter(
            unattended=True, stopped="", account__in=[int(each) for each in pool_ids]
        )
        .exclude(account__login_attempts__state__in=WORKERS_STATES)
        .select_related("account")
    )
    tries = _tries([each.account_id for each in setups])
    ids = [each.account_id for each in setups]
    refused = {
        row.account_id: row.state == "auth_required"
        for row in PoolStatus.objects.alive().filter(account__in=ids)
    }
    return [
        DailyLogin(
            account_id=each.account_id,
            at=each.unattended_at,
            tries=tries[each.account_id],
            credential_end=each.account.credentials_expire if each.account.credentials else None,
            is_refused=refused.get(each.account_id, False),
        )
        for each in setups
    ]


def _begin_daily(account_id: int) -> None:
    try:
        with transaction.atomic():
            LoginAttempt.objects.create(
                account_id=account_id,
                kind=AttemptKind.UNATTENDED,
                state=AttemptState.EXCHANGING,
                deadline=timezone.now(),
            )
    except IntegrityError:
        return  # one is under way, whoever began it; or the account is gone


async def _write(function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        await in_database(function, *args, **kwargs)
    except Error as error:
        raise StoreUnavailableError(named_error(error)) from error
