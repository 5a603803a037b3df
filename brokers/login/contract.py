"""The login contract: how a credential is got from a broker, and what differs between brokers.

A broker's login (``brokers/<name>/login.py``) is pure: it builds requests and reads answers. Who
sends them, keeps secrets, tells the time and stores what is granted is the pool's side.

``kept`` is everywhere what an account keeps for its login, in clear, by ``LoginField.name``. Where
only the public fields are known (the site can open no secret), a method says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

__all__ = [
    "MAX_ANSWER_BYTES",
    "TIMEOUT_SECONDS",
    "BrokerLogin",
    "Code",
    "Granted",
    "LoginField",
    "LoginKind",
    "LoginRequest",
    "Refusal",
    "Refused",
]

# Bounds of every request of a login, whatever the broker.
TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 64 * 1024


class LoginKind(StrEnum):
    """The ways to a credential.

    BROWSER: the owner logs in at the broker's own page and comes back with a code. UNATTENDED: PIN
    and TOTP are sent, where the broker's documents allow it. LONG_LIVED: a token that is made at
    the broker's site and pasted once a year.
    """

    BROWSER = "browser"
    UNATTENDED = "unattended"
    LONG_LIVED = "long-lived"


class Refusal(StrEnum):
    """The reasons of a login that granted nothing. Only BUSY and DOWN may be tried again alone."""

    SECOND_FACTOR = "second factor"
    SECRET = "secret"  # noqa: S105 -- a reason, no secret
    CODE = "code"
    REDIRECT = "redirect"
    OWNER = "owner"
    PLAN = "plan"
    DECLINED = "declined"
    BUSY = "busy"
    DOWN = "down"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginField:
    """One thing that an account keeps for a login, as forms show it.

    A secret is sealed when it is stored and opened by the worker only. What is no secret stands in
    the login page's address anyway, and the site needs it to build that. ``where`` is a public
    page of the broker on which one gets it ("": none). ``is_wide`` asks for a long text field.
    ``pattern`` is a regular expression of the whole value ("": anything printable). What
    ``is_optional`` may stay empty.
    """

    name: str
    label: str
    help_text: str = ""
    is_secret: bool = False
    is_wide: bool = False
    where: str = ""
    pattern: str = ""
    is_optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """One HTTP request of a login. Its repr shows method, host and path only.

    A request is sent once, redirects are not followed, and an answer that did not come is no
    reason to send it again: a code works once.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)

    def __repr__(self) -> str:
        return f"<LoginRequest {self.method} {self.place}>"

    @property
    def place(self) -> str:
        """The host and the path, without what may be a secret."""
        parts = urlsplit(self.url)
        return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The one-time code with which a browser comes back, and the state that it brought along.

    ``state`` is None where the broker gave none back. ``owner`` is who it says has logged in, ""
    where the answer to the exchange or the probe tells it.
    """

    value: str = field(repr=False)
    state: str | None = field(default=None, repr=False)
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a broker granted.

    ``values`` are all fields of the feed's credential, by name. ``owner`` is the broker's own name
    of the user ("": not told yet, the probe tells it). ``ends_at`` is when it ends as far as the
    credential itself says, aware; None where only the broker's habit is known. ``warning`` is a
    sentence for people, such as a plan without market data. ``state`` is that of a callback that
    brings the credential itself.
    """

    values: Mapping[str, str] = field(repr=False)
    owner: str = ""
    ends_at: datetime | None = None
    warning: str = ""
    state: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A login that granted nothing, and the sentence that says what mends it.

    ``text`` is ours, with the broker's own words shortened in it. ``retry_after_seconds`` is how
    long the broker wants to be left alone (None: it did not say). ``state`` is that of a callback.
    """

    why: Refusal
    text: str
    retry_after_seconds: float | None = None
    state: str | None = field(default=None, repr=False)

    @property
    def may_be_repeated(self) -> bool:
        """Whether the same login may be tried again without a person's doing."""
        return self.why in (Refusal.BUSY, Refusal.DOWN)


class BrokerLogin(Protocol):
    """How one gets a broker's credential. Pure and without state; safe from any thread.

    An implementation is made with ``base_url``: "" for the broker's own hosts, else the one URL
    below which all of its paths stand, such as those of the local exchange.

    Every method that reads an answer takes its status, its headers (names in Title-Case) and its
    complete body, decides by what the body says before it believes the status, and never raises
    for anything that a server may send: what cannot be read is ``Refused`` as UNREADABLE, 429 is
    BUSY and a server error is DOWN.

    Every method that builds a request or an address raises BrokerConfigError, naming the field,
    where ``kept`` lacks what it needs; and NotImplementedError where the broker has no such step.
    """

    @property
    def brokers(self) -> tuple[str, ...]:
        """The brokers' names (``BrokerCapabilities.name``) whose feeds take what is granted.

        More than one where several feeds of a user share one credential.
        """

    @property
    def fields(self) -> Mapping[LoginKind, tuple[LoginField, ...]]:
        """The kinds of login that there are, the recommended first, and what each asks for."""

    @property
    def echoes_state(self) -> bool:
        """Whether a granted browser login always brings the state back."""

    @property
    def attempt_seconds(self) -> float:
        """How long a browser may be away before its return is too late."""

    def redirect_problem(self, redirect_uri: str) -> str:
        """Return why the broker cannot send a browser back to this address; "" where it can."""

    @property
    def needs_preparing(self) -> bool:
        """Whether the broker has to be asked before the browser is sent away (``prepare``)."""

    def prepare(self, kept: Mapping[str, str], redirect_uri: str) -> LoginRequest | None:
        """Return what has to be asked before the browser is sent away; None: nothing."""

    def prepared(self, status: int, headers: Mapping[str, str], body: bytes) -> str | Refused:
        """Read the answer to ``prepare``: the name under which the broker expects the browser."""

    def page(
        self, kept: Mapping[str, str], *, state: str, redirect_uri: str, prepared: str = ""
    ) -> str:
        """Return the URL of the broker's login page. ``kept`` needs the public fields only."""

    def callback(
        self, query: Mapping[str, str], kept: Mapping[str, str]
    ) -> Code | Granted | Refused:
        """Read what the browser came back with. ``kept`` needs the public fields only.

        Each name of ``query`` stood there once; names that no broker documents are ignored.
        """

    def exchange(self, kept: Mapping[str, str], code: str, redirect_uri: str) -> LoginRequest:
        """Return the request that turns a code into a credential."""

    def unattended(self, kept: Mapping[str, str], totp: str) -> LoginRequest:
        """Return the request of a login by PIN and TOTP; ``brokers.login.totp`` makes the code."""

    def answer(
        self, kept: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``exchange`` or ``unattended``."""

    def pasted(self, values: Mapping[str, str]) -> Granted | Refused:
        """Return what a long-lived token grants, before anybody was asked."""

    def probe(self, granted: Granted) -> LoginRequest:
        """Return the request that tells whose a credential is and whether it works."""

    def probed(
        self, granted: Granted, status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``probe``: ``granted`` with its owner, end and warning complete."""
