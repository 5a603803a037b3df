"""The base of all logins: what most brokers have in common. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from brokers.login.answers import Answer
from brokers.login.contract import (
    Code,
    Granted,
    LoginField,
    LoginKind,
    LoginRequest,
    Refusal,
    Refused,
)
from brokers.login.requests import needed, no_https

__all__ = ["LoginBase"]


class LoginBase:
    """A login without any step; a broker fills in those that it has. See ``BrokerLogin``."""

    label: ClassVar[str]
    brokers: ClassVar[tuple[str, ...]]
    fields: ClassVar[Mapping[LoginKind, tuple[LoginField, ...]]]
    echoes_state: ClassVar[bool] = True
    attempt_seconds: ClassVar[float] = 600.0
    needs_preparing: ClassVar[bool] = False

    def __init__(self, base_url: str = "") -> None:
        self._base_url = base_url.rstrip("/")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def redirect_problem(self, redirect_uri: str) -> str:
        """Return why the broker cannot send a browser back to this address; "" where it can."""
        return no_https(self.label, redirect_uri)

    def prepare(self, kept: Mapping[str, str], redirect_uri: str) -> LoginRequest | None:
        """Return what has to be asked before the browser is sent away; None: nothing."""
        return None

    def prepared(self, status: int, headers: Mapping[str, str], body: bytes) -> str | Refused:
        """Read the answer to ``prepare``."""
        raise NotImplementedError(f"{self.label} has nothing to prepare")

    def unattended(self, kept: Mapping[str, str], totp: str) -> LoginRequest:
        """Return the request of a login by PIN and TOTP."""
        raise NotImplementedError(f"{self.label} has no login without a browser")

    def pasted(self, values: Mapping[str, str]) -> Granted | Refused:
        """Return what a long-lived token grants, before anybody was asked."""
        raise NotImplementedError(f"{self.label} has no long-lived token")

    def _at(self, own: str, path: str) -> str:
        """Return the URL of a path, at the broker's own host or below ``base_url``."""
        return f"{self._base_url or own}{path}"

    def _needed(self, kept: Mapping[str, str], name: str) -> str:
        return needed(self.label, kept, name)

    def _read(
        self, kept: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        public = {each.name for kind in self.fields.values() for each in kind if not each.is_secret}
        secret = [value for name, value in kept.items() if name not in public]
        # What a broker repeats of ``Bearer X`` or ``APPID:X`` may be X alone.
        bare = [re.split("[ :]", value.strip())[-1] for value in secret]
        return Answer.read(self.label, status, headers, body, (*secret, *bare))

    def _came_back(self, value: str, state: str | None, owner: str = "") -> Code | Refused:
        """Return the code of a callback, or the refusal of one that has none to be used."""
        if value:
            return Code(value=value, state=state, owner=owner)
        return self._refused(
            Refusal.CODE,
            "sent the browser back without a login code that can be read. Nothing was stored: log "
            "in again.",
            state,
        )

    def _declined(self, state: str | None, words: str = "") -> Refused:
        said = f' (it says "{words}")' if words else ""
        return self._refused(
            Refusal.DECLINED,
            f"sent the browser back without a login: it was cancelled or declined there{said}. "
            "Nothing was stored: log in again.",
            state,
        )

    def _refused(self, why: Refusal, text: str, state: str | None = None) -> Refused:
        return Refused(why=why, text=f"{self.label} {text}", state=state)
