"""Cards of the Brokers page: what it says of one account, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from brokers.login.contract import BrokerLogin, LoginKind
from brokers.times.moments import moment_text, zone_name
from pooling.calendar.days import TradingDays
from pooling.login import schedule
from pooling.login.contracts import DailyLogin
from pooling.login.states import AttemptState
from pooling.models import BrokerAccount, LoginAttempt, LoginSetup, trading_days
from pooling.operations.describe import PoolView, accounts_with_status, view_of
from pooling.operations.logins import login_setup, missing_fields
from pooling.operations.pool_state import PoolState, Tone

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["Card", "card_of", "cards_of", "market_words", "own_accounts", "short_moment"]

ATTEMPTS_SHOWN = 5
_SOON_SECONDS = 7200

_TONES = {
    AttemptState.GRANTED: Tone.GOOD,
    AttemptState.REFUSED: Tone.BAD,
    AttemptState.LATE: Tone.BAD,
    AttemptState.CANCELLED: Tone.OFF,
}
_WORDS = {
    AttemptState.PREPARING: "asking the broker",
    AttemptState.AWAY: "waiting for you at the broker",
    AttemptState.EXCHANGING: "finishing the login",
    AttemptState.GRANTED: "accepted",
    AttemptState.REFUSED: "refused",
    AttemptState.CANCELLED: "given up",
    AttemptState.LATE: "too late",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLine:
    """One attempt as the card shows it."""

    at: str
    word: str
    tone: Tone
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One account as its owner sees it.

    ``token`` says how long the stored credential lasts, in ``token_tone``. ``kinds`` are the logins
    that its broker has, ``ready`` those whose fields are all kept. ``attempt`` is the one that is
    under way, or None.
    """

    account: BrokerAccount
    broker_label: str
    view: PoolView
    token: str
    token_tone: Tone
    kinds: Sequence[LoginKind]
    ready: Sequence[LoginKind]
    takes_credential: bool
    owner: str
    attempt: LoginAttempt | None
    attempts: Sequence[AttemptLine]
    next_login: str
    stopped: str
    is_local: bool

    @property
    def can_browse(self) -> bool:
        """Whether one click leads to the broker's login page."""
        return LoginKind.BROWSER in self.ready

    @property
    def can_log_in_alone(self) -> bool:
        """Whether one click logs in without a page of the broker's."""
        return LoginKind.UNATTENDED in self.ready

    @property
    def needs_setup(self) -> bool:
        """Whether the login has to be set up before it can be used."""
        return bool(self.kinds) and not self.ready

    @property
    def can_be_tested(self) -> bool:
        """Whether there is a credential, and somebody whom the worker could ask about it."""
        return bool(self.kinds) and bool(self.account.credentials)

    @property
    def is_without(self) -> bool:
        """Whether no price comes until somebody logs in."""
        is_gone = self.token_tone is Tone.BAD and self.takes_credential
        return is_gone or self.view.state is PoolState.LOGIN_NEEDED

    def as_json(self) -> dict[str, Any]:
        """Return what changes while the page is looked at."""
        attempt = self.attempt
        return {
            "id": self.account.pk,
            "state": self.view.state.value,
            "tone": self.view.state.tone.value,
            "reason": self.view.reason,
            "token": self.token,
            "token_tone": self.token_tone.value,
            "attempt": None if attempt is None else attempt.pk,
            "attempt_word": "" if attempt is None else _WORDS[AttemptState(attempt.state)],
            "last": self.attempts[0].result if self.attempts else "",
        }


def own_accounts(user: User) -> list[BrokerAccount]:
    """Return a user's own accounts with all that a card reads."""
    return list(accounts_with_status().select_related("login").filter(user=user))


def cards_of(user: User, now: datetime) -> list[Card]:
    """Return the cards of a user's accounts, those first that need somebody."""
    accounts = own_accounts(user)
    attempts: dict[int, list[LoginAttempt]] = {each.pk: [] for each in accounts}
    for attempt in LoginAttempt.objects.filter(account__in=accounts).order_by("-id"):
        attempts[attempt.account_id].append(attempt)
    days = trading_days()
    cards = [card_of(each, attempts[each.pk], now, days) for each in accounts]
    return sorted(cards, key=lambda card: (card.view.state.rank, card.account.pk))


def card_of(
    account: BrokerAccount, attempts: Sequence[LoginAttempt], now: datetime, days: TradingDays
) -> Card:
    """Return the card of one account; ``attempts`` are its own, the newest first."""
    setup = login_setup(account)
    login = setup.login()
    kinds = tuple(login.fields) if login else ()
    ready = tuple(each for each in kinds if not missing_fields(setup, each))
    open_one = next((each for each in attempts if each.is_open), None)
    ended = [each for each in attempts if not each.is_open]
    token, token_tone = _token(account, now)
    capabilities = account.capabilities()
    return Card(
        account=account,
        broker_label=capabilities.label,
        view=view_of(account, now),
        token=token,
        token_tone=token_tone,
        kinds=kinds,
        ready=tuple(each for each in ready if each is not LoginKind.LONG_LIVED),
        takes_credential=bool(capabilities.credential_fields),
        owner=setup.owner,
        attempt=open_one,
        attempts=[_line(each) for each in ended[:ATTEMPTS_SHOWN]],
        next_login=_next_login(setup, login, account, now, days),
        stopped=setup.stopped,
        is_local=bool(account.endpoint),
    )


def market_words(now: datetime) -> str:
    """Return whether the shares' market is open, and until when."""
    found = trading_days().now(now)
    if found.until is None:
        return "Market closed."
    at = short_moment(found.until, now)
    return f"Market open until {at}." if found.is_open else f"Market closed; opens {at}."


def short_moment(at: datetime, now: datetime) -> str:
    """Return ``08:52 IST``, with the date where it is of another day."""
    local, today = timezone.localtime(at), timezone.localtime(now)
    text = f"{local:%H:%M} {zone_name(local)}"
    return text if local.date() == today.date() else f"{local:%b} {local.day}, {text}"


def _token(account: BrokerAccount, now: datetime) -> tuple[str, Tone]:
    if not account.capabilities().credential_fields:
        return "needs no login", Tone.OFF
    if not account.credentials:
        return "none yet", Tone.BAD
    ends = account.credentials_expire
    if ends is None:
        return "stored; its end is not known", Tone.GOOD
    if ends <= now:
        return f"ended {short_moment(ends, now)}", Tone.BAD
    is_soon = (ends - now).total_seconds() <= _SOON_SECONDS
    return f"until {short_moment(ends, now)}", Tone.WARN if is_soon else Tone.GOOD


def _line(attempt: LoginAttempt) -> AttemptLine:
    state = AttemptState(attempt.state)
    return AttemptLine(
        at=moment_text(timezone.localtime(attempt.finished or attempt.begun)),
        word=_WORDS[state],
        tone=_TONES.get(state, Tone.OFF),
        result=attempt.result,
    )


def _next_login(
    setup: LoginSetup,
    login: BrokerLogin | None,
    account: BrokerAccount,
    now: datetime,
    days: TradingDays,
) -> str:
    if login is None or not setup.unattended or setup.stopped:
        return ""
    daily = DailyLogin(
        account_id=account.pk,
        at=setup.unattended_at,
        credential_end=account.credentials_expire if account.credentials else None,
    )
    at = schedule.next_at(daily, now, days.is_any_trading_day)
    return "" if at is None else f"next login by itself: {short_moment(max(at, now), now)}"
