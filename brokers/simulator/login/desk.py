"""The desk at which people log in to a broker of the local exchange; a broker fills in its paths.

What the brokers have in common: the page with a PIN and a second factor, codes that work once,
tokens that end by a clock which tests move, faults as verbs, and a record of what clients did.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from datetime import time as time_of_day
from typing import ClassVar, Self
from urllib.parse import urlencode, urlsplit

from brokers.simulator.login.pages import front_page, login_page, message_page
from brokers.simulator.login.people import APP, PEOPLE, App, Person, totp_at
from brokers.simulator.login.server import Answer, Call, LoginServer, html, see_other, text
from brokers.simulator.login.tokens import Codes, Issued, TokenBook
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
    }
)
CODE_SECONDS = 300.0
LARGE_BYTES = 1024 * 1024


class LoginDesk(ABC):
    """One broker's logins. Belongs to the loop that serves it.

    Args:
        app: whose key and secret are taken.
        port: 0 takes a free one.
        clock: unix seconds.
    """

    broker: ClassVar[str]  # as people call it
    people: ClassVar[tuple[Person, ...]] = PEOPLE

    def __init__(
        self, *, app: App = APP, port: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        self.app = app
        self._clock = clock
        self._ahead = 0.0  # seconds that a test has moved the clock on
        self.tokens = TokenBook(self.now)
        self.codes = Codes()
        self.record: Counter[str] = Counter()  # what a broker would hold against a client
        self._used_totp: set[tuple[str, int]] = set()  # (user, period)
        self._fault = ""  # the next token request meets it; "" none
        self._server = LoginServer(self._answer, port=port)

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

    def now(self) -> float:
        """Return the desk's time in unix seconds."""
        return self._clock() + self._ahead

    def move_clock_to(self, hour: int, minute: int = 0) -> None:
        """Let it be that time of day in India, the next one."""
        local = datetime.fromtimestamp(self.now(), INDIA)
        then = datetime.combine(local.date(), time_of_day(hour, minute), INDIA)
        if then <= local:
            then += timedelta(days=1)
        self._ahead += (then - local).total_seconds()

    def meet(self, fault: str) -> None:
        """Let the next login meet a fault, one of ``FAULTS``."""
        if fault not in FAULTS:
            raise ValueError(f"unknown fault {fault!r}; known: {', '.join(sorted(FAULTS))}")
        self._fault = fault

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
            values = {**values, "state": state[::-1] if self._meets("state altered") else state}
        sign = "&" if urlsplit(redirect).query else "?"
        return f"{redirect}{sign}{urlencode(values)}"

    def _meets(self, fault: str) -> bool:
        if self._fault != fault:
            return False
        self._fault = ""
        return True

    def _is_night(self, night: tuple[time_of_day, time_of_day]) -> bool:
        """Whether it is between these times of day in India."""
        return night[0] <= datetime.fromtimestamp(self.now(), INDIA).time() < night[1]

    def _faulty(self) -> Answer | None:
        """Return what a token request gets instead of its answer, after its code was used."""
        if self._meets("html"):
            return html("<h1>Maintenance</h1>", 200)
        if self._meets("large"):
            return Answer(body=b"x" * LARGE_BYTES)
        if self._meets("hang"):
            return Answer(hangs=True)
        if self._meets("cut"):
            return Answer(is_cut=True)
        if self._meets("busy"):
            return text("Too many requests\n", 429)
        if self._meets("down"):
            return text("Bad gateway\n", 502)
        return None

    def _person(self, user: str, pin: str, totp: str) -> Person | str:
        """Return who it is, or what is wrong: "pin" or "totp"."""
        person = next((each for each in self.people if each.user_id == user), None)
        if person is None or person.pin != pin:
            return "pin"
        period = int(self.now() // 30)
        for each in (period, period - 1):
            if totp == totp_at(person.totp_secret, each * 30):
                if (user, each) in self._used_totp:
                    self.record["TOTP used twice"] += 1
                    return "totp"
                self._used_totp.add((user, each))
                return person
        return "totp"

    # Serving

    def _answer(self, call: Call) -> Answer:
        routes = self._routes()
        if call.path == "/":
            return html(self._front())
        if ("PAGE", call.path) in routes:
            return self._page(call)
        handler = routes.get((call.method, call.path))
        if handler is not None:
            return handler(call)
        if any(path == call.path for _, path in routes):
            self.record["wrong method"] += 1
            return text("Method not allowed\n", 405)
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
            return html(login_page(self.broker, {}, error=wrong))
        person = replace(found, user_id=self._owner_told(found.user_id))
        return see_other(self._allowed(call, person))

    def _front(self) -> str:
        people = [
            (each.user_id, each.pin, each.totp_secret, totp_at(each.totp_secret, self.now()))
            for each in self.people
        ]
        app = {"Key": self.app.key, "Secret": self.app.secret, "Login page": self._page_path}
        return front_page(self.broker, people, app)
