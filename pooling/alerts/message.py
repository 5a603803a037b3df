"""An alert as a program and as a person reads it, and the signature of the former. Pure."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import msgspec

from pooling.operations.pool_state import PoolState

__all__ = ["SIGNATURE_HEADER", "Alert", "email_text", "signature", "webhook_body"]

SIGNATURE_HEADER = "TickPool-Signature"
_WORDS = {
    PoolState.LIVE: " is live",
    PoolState.IDLE: " is idle: it is ready, and nothing is subscribed",
    PoolState.STALE: " is stale: its prices are not up to date",
    PoolState.LOGIN_NEEDED: ": login needed",
    PoolState.WAITING_FOR_ROOM: " is waiting for room: some of its symbols have no place",
    PoolState.CLOSED: " is closed",
    PoolState.PAUSED: " is paused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One change of a pool's state, with what a reader has to know of the pool.

    ``event_id`` is the same at every attempt and every target, so that a receiver can tell a
    repetition. Times are epoch milliseconds.
    """

    event_id: str
    pool_id: str
    user: str
    broker: str
    label: str
    state: PoolState
    previous: PoolState
    reason: str
    since_ms: int

    @property
    def is_recovery(self) -> bool:
        """Whether it is good news."""
        return self.state in (PoolState.LIVE, PoolState.IDLE)


def webhook_body(alert: Alert, site: str = "") -> bytes:
    """Return the JSON object that a webhook is sent; ``site`` is where people see the pages."""
    return msgspec.json.encode(
        {
            "type": "pool_state",
            "event_id": alert.event_id,
            "pool": {
                "id": alert.pool_id,
                "user": alert.user,
                "broker": alert.broker,
                "label": alert.label,
            },
            "state": alert.state.value,
            "previous": alert.previous.value,
            "feed_status": alert.state.feed_status.value,
            "reason": alert.reason,
            "since": _at(alert.since_ms, UTC).isoformat(timespec="milliseconds"),
            "text": _sentence(alert),
            "url": _url(alert, site),
        }
    )


def signature(body: bytes, secret: str, sent_seconds: int) -> str:
    """Return ``t=<epoch seconds>,v1=<hex>``: HMAC-SHA256 of ``<epoch seconds>.<body>``.

    The time is signed too, so that a receiver can refuse what somebody repeats later.
    """
    signed = b"%d.%s" % (sent_seconds, body)
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={sent_seconds},v1={digest}"


def email_text(alert: Alert, zone: tzinfo, site: str = "") -> tuple[str, str]:
    """Return subject, one line whatever the pool is called, and body.

    Where a login is needed, and ``site`` says where people see the pages, it says where to log in.
    """
    subject = " ".join(f"TickPool: {_name(alert)}{_words(alert)}".split())
    lines = [
        f"{_sentence(alert)}",
        "",
        f"Since:  {_at(alert.since_ms, zone):%Y-%m-%d %H:%M:%S %Z}",
        f"Before: {alert.previous.value}",
        f"Pool:   {alert.pool_id}",
    ]
    if url := _url(alert, site):
        lines += ["", f"Log in: {url}"]
    return subject, "\n".join(lines) + "\n"


def _url(alert: Alert, site: str) -> str:
    """Return where somebody logs in at the broker; "" where nobody has to, or nobody knows."""
    is_needed = alert.state is PoolState.LOGIN_NEEDED
    return f"{site}/brokers/#account-{alert.pool_id}" if is_needed and site else ""


def _sentence(alert: Alert) -> str:
    reason = f": {alert.reason}" if alert.reason and not alert.is_recovery else ""
    return f"The pool {_name(alert)}{_words(alert)}{reason}."


def _words(alert: Alert) -> str:
    return _WORDS.get(alert.state, f": {alert.state}")


def _name(alert: Alert) -> str:
    return f"{alert.user}/{alert.broker}/{alert.label}"


def _at(epoch_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, zone)
