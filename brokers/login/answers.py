"""Answers of a broker's server to a login, read as far as they can be. Pure.

A server may send anything: what is read of it is text of bounded length, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import msgspec

from brokers.login.contract import MAX_ANSWER_BYTES, Refusal, Refused
from brokers.login.requests import is_token
from brokers.logs.redaction import REDACTED, REDACTOR
from brokers.times.retry_after import retry_after_seconds

__all__ = ["UNREADABLE_STATE", "Answer", "returned", "returned_state", "same_owner", "words_of"]

# Stands for a state that is none of ours, so that it equals no state and is not "none at all".
UNREADABLE_STATE: Final = "?"
_MOST_WORDS: Final = 160
_MOST_OWNER: Final = 64
# A shorter secret would be cut out of innocent words.
_SHORTEST_SECRET: Final = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its status, and the JSON object in it. Its repr shows no word of it.

    ``said`` is empty where the body is no JSON object. ``secrets`` are values that no sentence may
    repeat, whatever the broker says.
    """

    label: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    said: Mapping[str, object] = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(
        cls,
        label: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        secrets: Iterable[str] = (),
    ) -> Answer:
        """Read an answer; never raises."""
        said: object = None
        if len(body) <= MAX_ANSWER_BYTES:
            try:
                said = msgspec.json.decode(body)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                said = None
        known = said if isinstance(said, dict) else {}
        return cls(label, status, headers, known, tuple(secrets))

    @property
    def is_ok(self) -> bool:
        """Whether the status says that the request was done."""
        return 200 <= self.status < 300

    def inside(self, name: str) -> Mapping[str, object]:
        """Return an object inside of the object; {} where there is none."""
        value = self.said.get(name)
        return value if isinstance(value, dict) else {}

    def token(self, name: str, within: Mapping[str, object] | None = None) -> str:
        """Return a credential by name; "" for what can be none."""
        value = (self.said if within is None else within).get(name)
        return value if isinstance(value, str) and is_token(value) else ""

    def owner(self, name: str, within: Mapping[str, object] | None = None) -> str:
        """Return a broker's name of a user; "" for what can be none."""
        value = (self.said if within is None else within).get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or len(value) > _MOST_OWNER:
            return ""
        return value if is_token(value) else ""

    def code(self, name: str, within: Mapping[str, object] | None = None) -> str:
        """Return an error's code or kind, as text that may be shown; "" for none."""
        value = self.owner(name, within)
        is_plain = value.replace("-", "").replace("_", "").isalnum()
        return value if is_plain and words_of(value, self.secrets) == value else ""

    def words(self, *names: str, within: Mapping[str, object] | None = None) -> str:
        """Return `` (it says "…")`` with the first of ``names`` that has words, or "".

        Not behind a colon: "the PIN: Invalid" would be taken out of logs as if it were a PIN.
        """
        holder = self.said if within is None else within
        for name in names:
            value = holder.get(name)
            if isinstance(value, str) and (text := words_of(value, self.secrets)):
                return f' (it says "{text}")'
        return ""

    def refused(
        self, why: Refusal, text: str, words: str = "", *, wait_seconds: float | None = None
    ) -> Refused:
        """Return a refusal: ``text`` with the broker's ``words`` behind its first sentence.

        Args:
            wait_seconds: how long the broker wants to be left alone where no header says it.
        """
        first, stop, rest = text.partition(". ")
        said = f"{first.removesuffix('.')}{words}.{' ' if stop else ''}{rest}" if words else text
        wait = self._wait(why)
        return Refused(
            why=why,
            text=f"{self.label} {said}",
            retry_after_seconds=wait_seconds if wait is None else wait,
        )

    def by_status(self, words: str = "") -> Refused:
        """Return what the status alone means, of an answer that said nothing clearer."""
        if self.status == 429:
            return self.refused(
                Refusal.BUSY, "takes no more logins for now (HTTP 429). Wait a while.", words
            )
        if self.status >= 500:
            return self.refused(
                Refusal.DOWN, f"cannot answer now (HTTP {self.status}). Try again later.", words
            )
        if not self.said:
            return self.refused(
                Refusal.UNREADABLE,
                f"answered with something that cannot be read (HTTP {self.status}). Nothing was "
                "stored: log in again, and look at the broker's page if it goes on.",
            )
        return self.refused(
            Refusal.UNREADABLE,
            f"gave an answer that is not understood (HTTP {self.status}). Nothing was stored: log "
            "in again.",
            words,
        )

    def _wait(self, why: Refusal) -> float | None:
        is_known = why in (Refusal.BUSY, Refusal.DOWN)
        return retry_after_seconds(self.headers) if is_known else None


def words_of(text: str, secrets: Iterable[str] = ()) -> str:
    """Return somebody else's words for people: one line, shortened, without what is secret."""
    # Before anything is cut off: half a secret is none that could be found.
    shown = text[:MAX_ANSWER_BYTES]
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            shown = shown.replace(secret, REDACTED).replace(quote(secret, safe=""), REDACTED)
    printable = "".join(each if each.isprintable() else " " for each in REDACTOR.redact(shown))
    shown = " ".join(printable.split())
    shown = shown.replace('"', "'").strip(" .")
    return shown if len(shown) <= _MOST_WORDS else f"{shown[: _MOST_WORDS - 1]}…"


def returned(query: Mapping[str, str], name: str) -> str:
    """Return what a browser brought back by name; "" for what can be no code of a broker."""
    value = query.get(name, "")
    return value if is_token(value) else ""


def returned_state(query: Mapping[str, str]) -> str | None:
    """Return the state that a browser brought back; None: none. Safe to compare."""
    value = query.get("state")
    return value if value is None or is_token(value) else UNREADABLE_STATE


def same_owner(one: str, other: str) -> bool:
    """Whether two names are of the same user: brokers write them in either case."""
    return one.strip().upper() == other.strip().upper()
