"""Codes and tokens that the local exchange made: whose they are, and until when. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta

import msgspec

from brokers.times.market_clock import INDIA

__all__ = ["Codes", "Issued", "TokenBook", "daily_end", "jwt"]

MOST = 1000  # codes or tokens; the oldest are forgotten first


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a code or a token stands for; ``ends`` in unix seconds. ``key`` is the app's."""

    user_id: str
    key: str
    ends: float
    redirect: str = ""


class Codes:
    """One-time codes. A code works once, whatever came of it."""

    def __init__(self) -> None:
        self._codes: dict[str, Issued] = {}  # by code, until it was used
        self.replayed = 0  # codes that were used before, or never made

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
        return issued if issued is not None and issued.ends > now else None


class TokenBook:
    """Tokens that work.

    Args:
        clock: unix seconds, which tests move.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens: dict[str, Issued] = {}  # by token

    def add(self, token: str, issued: Issued) -> str:
        """Let a token work until its end."""
        self._tokens[token] = issued
        _forget(self._tokens)
        return token

    def of(self, token: str) -> Issued | None:
        """Return what a token stands for; None for one that has ended, or none."""
        issued = self._tokens.get(token)
        return issued if issued is not None and issued.ends > self._clock() else None

    def end(self, user_id: str) -> None:
        """End all tokens of a user."""
        self._tokens = {k: v for k, v in self._tokens.items() if v.user_id != user_id}


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
