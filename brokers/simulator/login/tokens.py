"""Codes and tokens that the local exchange made: whose they are, and until when. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta

import msgspec

from brokers.times.market_clock import INDIA

__all__ = ["Codes", "Issued", "TokenBook", "daily_end", "jwt"]

MOST = 1000  # codes or tokens; the oldest are forgotten first


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a code or a token stands for; ``ends`` in unix seconds. ``key`` is the app's.

    ``feed_key`` is what the feed is shown in place of the token, ``feed_token`` what it is shown
    beside it; "" where there is no such thing.
    """

    user_id: str
    key: str
    ends: float
    redirect: str = ""
    feed_key: str = ""
    feed_token: str = ""


class Codes:
    """One-time codes. A code works once, whatever came of it."""

    def __init__(self) -> None:
        self._codes: dict[str, Issued] = {}  # by code, until it was used
        self.replayed = 0  # codes that were used before, or never made
        self.late = 0  # codes that came after their end

    def make(self, issued: Issued, text: str = "") -> str:
        """Return a new code for ``issued``, ``text`` if it is to be that one."""
        code = text or secrets.token_urlsafe(16)
        self._codes[code] = issued
        _forget(self._codes)
        return code

    def take(self, code: str, now: float) -> Issued | None:
        """Use a code up; None for one that is late, used or unknown."""
        issued = self._codes.pop(code, None)
        if issued is None:
            self.replayed += 1
            return None
        if issued.ends <= now:
            self.late += 1
            return None
        return issued

    def peek(self, code: str, now: float) -> Issued | None:
        """Return what a code stands for without using it up; None as for ``take``."""
        issued = self._codes.get(code)
        return issued if issued is not None and issued.ends > now else None


class TokenBook:
    """Tokens that work.

    Args:
        clock: unix seconds, which tests move.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens: dict[str, Issued] = {}  # by token, those that have ended too
        self._ended: dict[str, None] = {}  # tokens that were ended before their time

    def add(self, token: str, issued: Issued) -> str:
        """Let a token work until its end."""
        self._tokens[token] = issued
        while len(self._tokens) > MOST:
            oldest = next(iter(self._tokens))
            del self._tokens[oldest]
            self._ended.pop(oldest, None)
        return token

    def of(self, token: str) -> Issued | None:
        """Return what a token stands for; None for one that has ended, or none."""
        issued = self._tokens.get(token)
        return issued if issued is not None and self._lives(token, issued) else None

    def of_feed(self, shown: str) -> Issued | None:
        """Return the login that opens the feed; None for one that has ended, or none."""
        return next((i for t, i in self._shown(shown) if self._lives(t, i)), None)

    def has_ended(self, token: str) -> bool:
        """Tell whether a token, or what the feed is shown of it, was made here and has ended."""
        known = [*self._shown(token)]
        if token in self._tokens:
            known.append((token, self._tokens[token]))
        return bool(known) and not any(self._lives(t, i) for t, i in known)

    def end(self, token: str) -> None:
        """End a token before its time; nothing where there is no such one."""
        if token in self._tokens:
            self._ended[token] = None

    def end_those(self, *, user_id: str = "", key: str = "") -> int:
        """End all living tokens, or those of a user, an app or both; how many it were."""
        ended = [
            token
            for token, issued in self._tokens.items()
            if user_id in ("", issued.user_id)
            and key in ("", issued.key)
            and self._lives(token, issued)
        ]
        self._ended |= dict.fromkeys(ended)
        return len(ended)

    def _lives(self, token: str, issued: Issued) -> bool:
        return token not in self._ended and issued.ends > self._clock()

    def _shown(self, shown: str) -> Iterator[tuple[str, Issued]]:
        for token, issued in self._tokens.items():
            if shown and shown in (issued.feed_key or token, issued.feed_token):
                yield token, issued


def daily_end(now: float, at: time) -> float:
    """Return the next such time of day in India, in unix seconds."""
    local = datetime.fromtimestamp(now, INDIA)
    end = datetime.combine(local.date(), at, INDIA)
    return (end if end > local else end + timedelta(days=1)).timestamp()


def jwt(claims: Mapping[str, object]) -> str:
    """Return a JSON Web Token of these claims; the signature is of a key that nobody checks."""
    head = _part(msgspec.json.encode({"alg": "HS256", "typ": "JWT"}))
    body = _part(msgspec.json.encode({**claims, "jti": secrets.token_hex(8)}))
    signature = hmac.new(b"local exchange", f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{_part(signature)}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _forget(known: dict[str, Issued]) -> None:
    while len(known) > MOST:
        del known[next(iter(known))]
