"""Shipped fakes of logins: a broker that is told what to say, its HTTP, a store in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from brokers.exceptions import BrokerError
from brokers.login.contract import (
    Code,
    Granted,
    LoginField,
    LoginKind,
    LoginRequest,
    Refusal,
    Refused,
)
from pooling.calendar.days import TradingDays
from pooling.http.policy import HttpReply
from pooling.login.contracts import DailyLogin, TakenLogin

__all__ = ["FakeLogin", "FakeLoginHttp", "FakeLoginStore"]

HOST = "https://broker.test"
_FIELDS: Mapping[LoginKind, tuple[LoginField, ...]] = MappingProxyType(
    {
        LoginKind.BROWSER: (
            LoginField(name="api_key", label="API key", pattern="[a-z0-9]{4,20}"),
            LoginField(name="api_secret", label="API secret", is_secret=True),
        ),
        LoginKind.UNATTENDED: (
            LoginField(name="pin", label="PIN", is_secret=True),
            LoginField(name="totp_secret", label="TOTP secret", is_secret=True),
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeLogin:
    """A broker's login in plain words: the body of every answer says what it means.

    ``granted OWNER TOKEN`` grants, ``busy``, ``secret`` and the other values of ``Refusal`` refuse.
    """

    brokers: tuple[str, ...] = ("zerodha",)
    fields: Mapping[LoginKind, tuple[LoginField, ...]] = field(default_factory=lambda: _FIELDS)
    echoes_state: bool = True
    attempt_seconds: float = 600.0
    needs_preparing: bool = False

    def redirect_problem(self, redirect_uri: str) -> str:
        """Take every address but one with a fragment."""
        return "No address with a #." if "#" in redirect_uri else ""

    def prepare(self, kept: Mapping[str, str], redirect_uri: str) -> LoginRequest | None:
        """Ask for a name, where that is needed."""
        return LoginRequest(method="POST", url=f"{HOST}/prepare") if self.needs_preparing else None

    def prepared(self, status: int, headers: Mapping[str, str], body: bytes) -> str | Refused:
        """Read the name."""
        text = body.decode()
        return text if text.startswith("name ") else _refused(text)

    def page(
        self, kept: Mapping[str, str], *, state: str, redirect_uri: str, prepared: str = ""
    ) -> str:
        """Return the login page's URL."""
        return f"{HOST}/login?key={kept.get('api_key', '')}&state={state}&name={prepared}"

    def callback(
        self, query: Mapping[str, str], kept: Mapping[str, str]
    ) -> Code | Granted | Refused:
        """Read ``code`` and ``state``."""
        state = query.get("state")
        if "code" not in query:
            return Refused(why=Refusal.DECLINED, text="You declined.", state=state)
        return Code(value=query["code"], state=state)

    def exchange(self, kept: Mapping[str, str], code: str, redirect_uri: str) -> LoginRequest:
        """Send the code."""
        return LoginRequest(method="POST", url=f"{HOST}/token", content=code.encode())

    def unattended(self, kept: Mapping[str, str], totp: str) -> LoginRequest:
        """Send the PIN and the code of the second factor."""
        content = f"{kept.get('pin')} {totp}".encode()
        return LoginRequest(method="POST", url=f"{HOST}/pin", content=content)

    def answer(
        self, kept: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read a grant without its owner, or a refusal."""
        word, _, rest = body.decode().partition(" ")
        if word != "granted":
            return _refused(word)
        return Granted(values={"api_key": kept.get("api_key", ""), "access_token": rest})

    def pasted(self, values: Mapping[str, str]) -> Granted | Refused:
        """Grant what was pasted."""
        return Granted(values=values)

    def probe(self, granted: Granted) -> LoginRequest:
        """Ask whose it is."""
        token = granted.values.get("access_token", "")
        return LoginRequest(method="GET", url=f"{HOST}/me", headers={"Authorization": token})

    def probed(
        self, granted: Granted, status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the owner."""
        word, _, owner = body.decode().partition(" ")
        return replace(granted, owner=owner) if word == "owner" else _refused(word)


class FakeLoginHttp:
    """Answers by path, in order; the last answer of a path goes on. Remembers what was asked.

    Args:
        answers: by path, bodies in their order; an error is raised.
    """

    def __init__(self, answers: Mapping[str, Sequence[str | BrokerError]]) -> None:
        self._answers = {path: list(bodies) for path, bodies in answers.items()}
        self.asked: list[tuple[str, str, bytes]] = []  # method, path, content

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes | None
    ) -> HttpReply:
        """Answer as the script says; a path without one is a test's mistake."""
        path = url.removeprefix(HOST)
        self.asked.append((method, path, content or b""))
        answers = self._answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BrokerError):
            raise answer
        return HttpReply(status=200, http_version="HTTP/1.1", headers={}, body=answer.encode())


class FakeLoginStore:
    """Attempts in memory. Loop only."""

    def __init__(self) -> None:
        self.waiting: list[TakenLogin] = []
        self.ended: dict[int, Granted | Refused] = {}  # by attempt
        self.names: dict[int, str] = {}  # of prepared ones
        self.counters: list[int] = []  # of the codes that were sent
        self.daily_ones: list[DailyLogin] = []
        self.days = TradingDays()
        self.begun: list[int] = []  # accounts whose daily login was begun
        self.failures: list[Exception] = []  # raised one by one, by whatever is called next

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def take(
        self, worker_id: str, pool_ids: Collection[str], most: int
    ) -> Sequence[TakenLogin]:
        """Hand out what waits, once."""
        self._fail()
        mine = [each for each in self.waiting if each.pool_id in pool_ids][:most]
        self.waiting = [each for each in self.waiting if each not in mine]
        return mine

    async def prepared(self, attempt_id: int, name: str) -> None:
        """Remember the name."""
        self.names[attempt_id] = name

    async def sends_totp(self, attempt_id: int, counter: int) -> None:
        """Remember the period."""
        self.counters.append(counter)

    async def finish(self, attempt_id: int, result: Granted | Refused) -> None:
        """Remember the end."""
        self._fail()
        self.ended[attempt_id] = result

    async def trading_days(self) -> TradingDays:
        """Return those that the test set."""
        return self.days

    async def daily(self, pool_ids: Collection[str]) -> Sequence[DailyLogin]:
        """Return those that the test set."""
        return self.daily_ones

    async def begin_daily(self, account_id: int) -> None:
        """Remember it."""
        self.begun.append(account_id)


def _refused(word: str) -> Refused:
    known = {each.value for each in Refusal}
    why = Refusal(word) if word in known else Refusal.UNREADABLE
    return Refused(why=why, text=f"The broker says: {word}.")
