"""One entry per symbol in the answers to subscribe and unsubscribe. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from brokers.pool_service import WAITING_FOR_ROOM, Outcome, OutcomeState, RefusalCode, Want
from streaming.ports.directory import AccountRef
from streaming.protocol.held import Feed, Held, Line
from streaming.protocol.vocabulary import ErrorCode, SubscribeItem

__all__ = [
    "accepted_or_refused",
    "away_outcome",
    "back_outcome",
    "delay_of",
    "delayed",
    "ended",
    "failed",
    "listed_line",
    "placed_again",
    "refused_later",
    "waits",
    "waits_for_room",
    "with_error",
]


class Silence(NamedTuple):
    """Since when a topic is silent (seconds of the hub's clock), and what that means, in words.

    ``has_ticked`` is False where there was no tick since it was subscribed here.
    """

    since: float
    reason: str
    has_ticked: bool


def accepted_or_refused(
    item: SubscribeItem,
    account: AccountRef,
    outcome: Outcome | None,
    nearest: Sequence[str],
    age_ms: int | None = None,
) -> dict[str, Any]:
    """Tell what became of one item that a pool was asked for; None means that it did not answer.

    ``age_ms`` is that of the last known value, where it is old and about to be shown.
    """
    if outcome is None:
        message = "The pool gave no answer; try again."
        return with_error(item, account, ErrorCode.SERVER_ERROR, message)
    entry = _item_fields(item, account)
    if outcome.state is OutcomeState.REFUSED:
        return {**entry, **_refusal_fields(outcome, nearest)}
    if waits_for_room(outcome):
        return {**entry, **_refusal_fields(outcome, ()), "state": outcome.state}
    entry.update(_delay_fields(outcome))
    if age_ms is not None:
        entry["last_tick_age_ms"] = age_ms
    return {**entry, "state": outcome.state}


def away_outcome(want: Want, account: AccountRef) -> Outcome:
    """Let a want wait until its account is there again."""
    code = RefusalCode.BROKER_UNAVAILABLE
    return Outcome(want.key, OutcomeState.PENDING, want.mode, want.depth_levels, code, account.away)


def back_outcome(outcome: Outcome) -> Outcome:
    """Say of what waited for its account, and now for no other known reason, that this is over."""
    if outcome.state is not OutcomeState.PENDING or outcome.message:
        return outcome
    message = "the broker account is there again; the broker has not confirmed this yet"
    return msgspec.structs.replace(outcome, message=message)


def waits_for_room(outcome: Outcome) -> bool:
    """Tell whether an accepted subscription has lost its place and is kept until there is one."""
    is_pending = outcome.state is OutcomeState.PENDING
    return is_pending and outcome.code is RefusalCode.MAX_CAPACITY_REACHED


def with_error(
    item: SubscribeItem, account: AccountRef | None, code: str, message: str
) -> dict[str, Any]:
    """Tell why one item was not even asked for."""
    return {**_item_fields(item, account), "status": "error", "code": code, "message": message}


def refused_later(feed: Feed, line: Line, account: AccountRef, outcome: Outcome) -> dict[str, Any]:
    """Tell that a subscription which stood was refused after all."""
    return {**ended(feed, line, account), **_refusal_fields(outcome, ())}


def waits(feed: Feed, line: Line, account: AccountRef, outcome: Outcome) -> dict[str, Any]:
    """Tell that a subscription which stood has no place for now; it is pending, not ended."""
    return {**refused_later(feed, line, account, outcome), "state": outcome.state}


def delay_of(outcome: Outcome) -> str:
    """Return why an accepted subscription with a place is not active yet; "": nothing is known."""
    is_pending = outcome.state is OutcomeState.PENDING
    return _sentence(outcome.message) if is_pending and not waits_for_room(outcome) else ""


def delayed(feed: Feed, line: Line, account: AccountRef, outcome: Outcome) -> dict[str, Any]:
    """Tell why a subscription that stands is not active yet."""
    return {**ended(feed, line, account), **_delay_fields(outcome), "state": outcome.state}


def placed_again(feed: Feed, line: Line, account: AccountRef) -> dict[str, Any]:
    """Tell that a subscription of which the client was told that it waits is active."""
    return {**ended(feed, line, account), "state": OutcomeState.ACTIVE}


def ended(feed: Feed, line: Line, account: AccountRef) -> dict[str, Any]:
    """Tell that one line ended as asked."""
    return {
        "symbol": feed.key.symbol + line.suffix,
        "exchange": feed.key.exchange,
        "status": "success",
        "mode": int(line.mode),
        **_account_fields(account),
    }


def failed(symbol: str, exchange: str, code: str, message: str) -> dict[str, Any]:
    """Tell that an item could not be served, in the client's words as far as they were usable."""
    return {
        "symbol": symbol,
        "exchange": exchange,
        "status": "error",
        "code": code,
        "message": message,
    }


def _item_fields(item: SubscribeItem, account: AccountRef | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "symbol": item.symbol,
        "exchange": item.exchange,
        "status": "success",
        "mode": int(item.mode),
        "depth": item.depth_levels,
    }
    return fields if account is None else {**fields, **_account_fields(account)}


def _account_fields(account: AccountRef) -> dict[str, str]:
    """Name the pool of the client's own account, as ``feed`` objects do."""
    return {"broker": account.broker, "pool_id": account.pool_id}


def _sentence(text: str) -> str:
    """Return words of a pool or a broker as they stand alone, beginning with a capital."""
    return text[:1].upper() + text[1:]


def _delay_fields(outcome: Outcome) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if delay_of(outcome):
        fields["message"] = _sentence(outcome.message)
        if outcome.code is not None:
            fields["code"] = outcome.code
    return fields


def _refusal_fields(outcome: Outcome, nearest: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "status": "error",
        "code": outcome.code or ErrorCode.BROKER_ERROR,
        "message": _sentence(outcome.message) or "The pool refused this subscription.",
    }
    if outcome.details:
        fields["details"] = dict(outcome.details)
    if nearest:
        fields["message"] = f"{fields['message'].rstrip('.')}. Nearest: {', '.join(nearest)}."
        fields["suggestions"] = list(nearest)
    return fields


def listed_line(
    feed: Feed,
    line: Line,
    held: Held,
    *,
    is_live: bool,
    age_ms: int | None,
    silence: Silence | None,
    silent_since_ms: int,
) -> dict[str, Any]:
    """Return what ``list_subscriptions`` says of one line.

    Args:
        feed: whose line it is.
        line: the line.
        held: the client's claim on the feed.
        is_live: whether the feed's prices may be shown as live.
        age_ms: of the last tick; None: it never ticked.
        silence: what is to be said of there being no ticks, if anything.
        silent_since_ms: its beginning, epoch milliseconds.
    """
    # What was acknowledged and has no data stays what it was before: asked for.
    has_data = silence is None or silence.has_ticked
    state = "active" if held.active and has_data else "pending"
    if held.waits:
        state = WAITING_FOR_ROOM
    elif not is_live or held.account.away:
        state = "stale"
    entry: dict[str, Any] = {
        "symbol": feed.key.symbol + line.suffix,
        "exchange": feed.key.exchange,
        "mode": int(line.mode),
        "depth": held.lines[line],
        **_account_fields(held.account),
        "state": state,
    }
    if age_ms is not None:
        entry["last_tick_age_ms"] = age_ms
    if silence is not None and (has_data or held.active):
        entry["quiet_since"] = silent_since_ms
        entry["reason"] = silence.reason
    if held.delay:
        entry["reason"] = held.delay
    return entry
