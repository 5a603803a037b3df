"""An alert as a program and as a person reads it, and the signature of the former. Pure."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import msgspec

from brokers.pool_service import FeedStatus, state_word

__all__ = ["SIGNATURE_HEADER", "Alert", "email_text", "signature", "webhook_body"]

SIGNATURE_HEADER = "TickPool-Signature"
_WORDS = {
    FeedStatus.LIVE: "is live",
    FeedStatus.STALE: "is stale: its prices are not up to date",
    FeedStatus.AUTH_REQUIRED: "needs a new credential",
    FeedStatus.CLOSED: "is closed",
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
    status: FeedStatus
    previous: FeedStatus
    reason: str
    since_ms: int

    @property
    def is_recovery(self) -> bool:
        """Whether it is good news."""
        return self.status is FeedStatus.LIVE


def webhook_body(alert: Alert) -> bytes:
    """Return the JSON object that a webhook is sent."""
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
            "state": alert.status.value,
            "previous": alert.previous.value,
            "reason": alert.reason,
            "since": _at(alert.since_ms, UTC).isoformat(timespec="milliseconds"),
            "text": _sentence(alert),
        }
    )


def signature(body: bytes, secret: str, sent_seconds: int) -> str:
    """Return ``t=<epoch seconds>,v1=<hex>``: HMAC-SHA256 of ``<epoch seconds>.<body>``.

    The time is signed too, so that a receiver can refuse what somebody repeats later.
    """
    signed = b"%d.%s" % (sent_seconds, body)
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={sent_seconds},v1={digest}"


def email_text(alert: Alert, zone: tzinfo) -> tuple[str, str]:
    """Return subject, one line whatever the pool is called, and body."""
    subject = " ".join(f"TickPool: {_name(alert)} {_WORDS[alert.status]}".split())
    lines = [
        f"{_sentence(alert)}",
        "",
        f"Since:  {_at(alert.since_ms, zone):%Y-%m-%d %H:%M:%S %Z}",
        f"Before: {state_word(alert.previous.value)}",
        f"Pool:   {alert.pool_id}",
    ]
    return subject, "\n".join(lines) + "\n"


def _sentence(alert: Alert) -> str:
    reason = f": {alert.reason}" if alert.reason and not alert.is_recovery else ""
    return f"The pool {_name(alert)} {_WORDS[alert.status]}{reason}."


def _name(alert: Alert) -> str:
    return f"{alert.user}/{alert.broker}/{alert.label}"


def _at(epoch_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, zone)
