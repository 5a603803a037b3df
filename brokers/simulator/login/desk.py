"""The desk at which people log in to a broker of the local exchange; a broker fills in its paths.

What the brokers have in common: the page with a PIN and a second factor, codes that work once,
tokens that end by a clock which tests move, faults as verbs, and a record of what clients did.
"""

from __future__ import annotations

import hmac
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from datetime import time as time_of_day
from typing import ClassVar, Self
from urllib.parse import urlencode, urlsplit

from brokers.simulator.control import ControlError, run_verb
from brokers.simulator.login.pages import front_page, login_page, message_page
from brokers.simulator.login.people import APP, PEOPLE, App, Person, totp_at
from brokers.simulator.login.server import Answer, Call, LoginServer, html, json, see_other, text
from brokers.simulator.login.tokens import Codes, Issued, TokenBook, daily_end
from brokers.times.market_clock import INDIA

__all__ = ["FAULTS", "LoginDesk"]

FAULTS = frozenset(
    {
        "state dropped",
        "state altered",
        "other owner",
        "html",
        "large",
        "hang",
        "cut",
        "busy",
        "down",
        "night",
    }
)
# What no client may write into a query, but where the broker asks for it there.
SECRET_NAMES = frozenset(
    {
        "access-token",
        "access_token",
        "api_secret",
        "app_secret",
        "appIdHash",
        "auth_code",
        "checksum",
        "client_secret",
        "code",
        "consentAppId",
        "password",
        "pin",
        "refreshToken",
        "refresh_token",
        "request_token",
        "secret",
        "tokenId",
        "totp",
    }
)
MINUTE_SECONDS = 60.0
CODE_SECONDS = 300.0
LARGE_BYTES = 1024 * 1024


class LoginDesk(ABC):
    """One broker's logins. Belongs to the loop that serves it.

    Args:
        app: whose key and secret are taken.
        port: 0 takes a free one.
        control_token: lets other processes use the verbs, see ``LocalExchange``.
        clock: unix seconds.
    """

    broker: ClassVar[str]  # as people call it
    people: ClassVar[tuple[Person, ...]] = PEOPLE
    # Names of secrets that the broker itself wants in the query, by path.
    query_secrets: ClassVar[Mapping[str, frozenset[str]]] = {}

    def __init__(
        self,
        *,
        app: App = APP,
        port: int = 0,
        control_token: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.app = app
        self._control_token = control_token
        self._clock = clock
        self._ahead = 0.0  # seconds that a test has moved the clock on
        self._off = 0.0  # seconds by which the broker's clock is not the clients'
        self.tokens = TokenBook(self.now)
        self.codes = Codes()
        self.record: Counter[str] = Counter()  # what a broker would hold against a client
        self.logins_per_minute = 0  # tries in the busiest minute
        self._tries: deque[float] = deque()  # those of the last minute
        self._used_totp: set[tuple[str, int]] = set()  # (user, period)
        self._fault = ""  # the next token request meets it; "" none
        self._fault_path = ""  # the next request there meets it instead; "" the one for a token
        self._server = LoginServer(self._answer, port=port, date=self._date)

    async def open(self) -> None:
        """Begin to serve. Raises OSError where the port cannot be had."""
        await self._server.open()

    async def close(self) -> None:
        """Stop; idempotent."""
        await self._server.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """What stands in place of the broker's hosts."""
        return self._server.url

    # Verbs

    def wall(self) -> float:
        """Return the time that the broker tells, and by which most codes of TOTP are made."""
        return self._clock() + self._off

    def now(self) -> float:
        """Return the time by which codes and tokens end, in unix seconds."""
        return self.wall() + self._ahead

    def move_clock_to(self, hour: int, minute: int = 0) -> str:
        """Let it be that time of day in India, the next one, for codes and tokens.

        Whoever logs in with a code of TOTP may do so by either time: clients have not moved.
        """
        return self.advance_clock(daily_end(self.now(), time_of_day(hour, minute)) - self.now())

    def advance_clock(self, seconds: float) -> str:
        """Let it be so much later for codes and tokens; returns the time in India."""
        if not 0 <= seconds <= 400 * 86_400:
            raise ValueError(f"seconds must be within 0 and 400 days, got {seconds}")
        self._ahead += seconds
        return datetime.fromtimestamp(self.now(), INDIA).isoformat(timespec="seconds")

    def put_clock_off(self, seconds: float) -> None:
        """Have a clock that is ahead of the clients' by so much, for TOTP too; 0 ends it."""
        if not -86_400 <= seconds <= 86_400:
            raise ValueError(f"seconds must be within a day, got {seconds}")
        self._off = seconds

    def end_tokens(self) -> int:
        """End every token, as the broker can at any time; how many it were."""
        return self.tokens.end_those()

    def register(self, redirect: str) -> None:
        """Let browsers come back to another address."""
        self.app = replace(self.app, redirect=redirect)

    def totp(self, user_id: str) -> str:
        """Return the present code of somebody's second factor."""
        for each in self.people:
            if each.user_id == user_id:
                return totp_at(each.totp_secret, self.wall())
        raise ValueError(f"nobody here is {user_id!r}")

    def reset_record(self) -> None:
        """Forget what clients did."""
        self.record.clear()
        self._tries.clear()
        self.logins_per_minute = self.codes.replayed = self.codes.late = 0

    def meet(self, fault: str, path: str = "") -> None:
        """Let the next login meet a fault, one of ``FAULTS``; "" for none.

        Args:
            path: the next request there meets it, after it was carried out.
        """
        if fault and fault not in FAULTS:
            raise ValueError(f"unknown fault {fault!r}; known: {', '.join(sorted(FAULTS))}")
        self._fault, self._fault_path = fault, path

    # What a broker fills in

    @abstractmethod
    def _routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        """Return what answers which method and path; login pages are ``GET`` here."""

    @abstractmethod
    def _page_problem(self, call: Call) -> str:
        """Return what is wrong with a login page's address; "" for nothing."""

    @abstractmethod
    def _allowed(self, call: Call, person: Person) -> str:
        """Return where the browser goes with what it was given."""

    @abstractmethod
    def _denied(self, call: Call) -> str:
        """Return where the browser goes that was given nothing."""

    @property
    def _page_path(self) -> str:
        return next(path for (method, path) in self._routes() if method == "PAGE")

    # What it uses

    def _code_for(self, person: Person, redirect: str = "", code: str = "") -> str:
        ends = self.now() + CODE_SECONDS
        issued = Issued(user_id=person.user_id, key=self.app.key, ends=ends, redirect=redirect)
        return self.codes.make(issued, code)

    def _owner_told(self, user_id: str) -> str:
        return "QQ0000" if self._meets("other owner") else user_id

    def _back(self, redirect: str, values: Mapping[str, str], state: str = "") -> str:
        """Return a redirect with its values, and the state as the fault says."""
        if state and not self._meets("state dropped"):
            altered = state[:-1] + ("a" if state[-1] != "a" else "b")
            values = {**values, "state": altered if self._meets("state altered") else state}
        sign = "&" if urlsplit(redirect).query else "?"
        return f"{redirect}{sign}{urlencode(values)}"

    def _meets(self, fault: str) -> bool:
        if self._fault != fault:
            return False
        self._fault = ""
        return True

    def _busy(self) -> Answer:
        """Answer one who asks too often."""
        return text("Too many requests\n", 429)

    def _closed(self) -> Answer:
        """Answer at night."""
        return text("Closed for the night\n", 503)

    def _faulty(self) -> Answer | None:
        """Return what a token request gets instead of its answer, after its code was used."""
        return None if self._fault_path else self._instead()

    def _instead(self) -> Answer | None:
        """Return what a fault puts in the place of an answer."""
        if self._meets("html"):
            return html("<h1>Maintenance</h1>", 200)
        if self._meets("large"):
            return Answer(body=b"x" * LARGE_BYTES)
        if self._meets("hang"):
            return Answer(hangs=True)
        if self._meets("cut"):
            return Answer(is_cut=True)
        if self._meets("busy"):
            return self._busy()
        if self._meets("night"):
            return self._closed()
        if self._meets("down"):
            return text("Bad gateway\n", 502)
        return None

    def _person(self, user: str, pin: str, totp: str) -> Person | str:
        """Return who it is, or what is wrong: "pin" or "totp"."""
        self._tried()
        person = next((each for each in self.people if each.user_id == user), None)
        if person is None or person.pin != pin:
            return "pin"
        for each in (int(now // 30) - ago for now in (self.wall(), self.now()) for ago in (0, 1)):
            if totp == totp_at(person.totp_secret, each * 30):
                if (user, each) in self._used_totp:
                    self.record["TOTP used twice"] += 1
                    return "totp"
                self._used_totp.add((user, each))
                return person
        return "totp"

    def _tried(self) -> None:
        now = self.wall()
        self._tries.append(now)
        while now - self._tries[0] >= MINUTE_SECONDS:
            self._tries.popleft()
        self.logins_per_minute = max(self.logins_per_minute, len(self._tries))

    def _wrong_method(self, call: Call) -> Answer:
        """Answer a method that a path does not take."""
        return text("Method not allowed\n", 405)

    # Serving

    def _answer(self, call: Call) -> Answer:
        own = self._own(call)
        if own is not None:
            return own
        routes = self._routes()
        allowed = self.query_secrets.get(call.path, frozenset())
        for name in {name for name, _ in call.query} & SECRET_NAMES - allowed:
            self.record[f"{name} in a query"] += 1
        if ("PAGE", call.path) in routes:
            return self._page(call)
        handler = routes.get((call.method, call.path))
        if handler is not None:
            answer = handler(call)
            is_there = self._fault_path and call.path == self._fault_path
            return (self._instead() if is_there else None) or answer
        if any(path == call.path for _, path in routes):
            self.record["wrong method"] += 1
            return self._wrong_method(call)
        return text("Not found\n", 404)

    def _page(self, call: Call) -> Answer:
        if problem := self._page_problem(call):
            return html(message_page(self.broker, problem), 400)
        if call.method == "GET":
            return html(login_page(self.broker, {}))
        if call.form.get("answer") == "deny":
            return see_other(self._denied(call))
        given = call.form
        found = self._person(given.get("user", ""), given.get("pin", ""), given.get("totp", ""))
        if isinstance(found, str):
            wrong = "This user or PIN is not known." if found == "pin" else "Wrong or used code."
            return html(login_page(self.broker, {}, error=wrong, user=given.get("user", "")[:64]))
        person = replace(found, user_id=self._owner_told(found.user_id))
        return see_other(self._allowed(call, person))

    def _own(self, call: Call) -> Answer | None:
        """Answer what is the exchange's own; None for what is the broker's."""
        if call.path == "/":
            return html(self._front())
        if call.path == "/health":
            return json({"status": "ok"})
        if call.path == "/record":
            return json(
                {
                    "complaints": dict(self.record),
                    "codes_late": self.codes.late,
                    "codes_replayed": self.codes.replayed,
                    "logins_per_minute": self.logins_per_minute,
                }
            )
        if call.path.startswith("/control/"):
            return self._control(call)
        return None

    def _control(self, call: Call) -> Answer:
        if not self._control_token:
            return text("Not found\n", 404)
        given = call.headers.get("x-control-token", "")
        if not hmac.compare_digest(given.encode(), self._control_token.encode()):
            return text("Forbidden\n", 403)
        verb = call.path.removeprefix("/control/")
        try:
            return json({"verb": verb, "result": run_verb(self, verb, dict(call.query))})
        except ControlError as error:
            return json({"verb": verb, "error": str(error)}, 400)

    def _date(self) -> str:
        return datetime.fromtimestamp(self.wall(), UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")

    def _front(self) -> str:
        people = [
            (each.user_id, each.pin, each.totp_secret, totp_at(each.totp_secret, self.wall()))
            for each in self.people
        ]
        app = {"Key": self.app.key, "Secret": self.app.secret, "Login page": self._page_path}
        app["Comes back to"] = self.app.redirect or "what the client asks for"
        return front_page(self.broker, people, app)
