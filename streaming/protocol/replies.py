"""Replies to a client: all that is said to it, apart from ticks. Pure; one JSON object each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from brokers.pool_service import FeedChange, FeedStatus, PoolStats
from brokers.types import InstrumentKey
from streaming.ports.directory import AccountRef, Principal
from streaming.protocol.held import Feed
from streaming.protocol.vocabulary import Ping, ProtocolError, RequestId

__all__ = [
    "Encoded",
    "auth_failed",
    "auth_succeeded",
    "broker_info",
    "broker_name",
    "encode",
    "encoded",
    "error",
    "feed_change",
    "feed_object",
    "list_reply",
    "order_update",
    "overall_status",
    "pong",
    "reconnect",
    "subscribe_reply",
    "supported_brokers",
    "switch_reply",
    "unsubscribe_reply",
]

Encoded = msgspec.Raw
_NO_BROKER = "none"
_ADAPTER_STATUS = {
    FeedStatus.LIVE: "connected",
    FeedStatus.STALE: "disconnected",
    FeedStatus.AUTH_REQUIRED: "auth_required",
    FeedStatus.CLOSED: "closed",
}


def encode(reply: Mapping[str, Any], request_id: RequestId = None) -> str:
    """Encode one reply, with the request's id when it had one."""
    if request_id is not None:
        reply = {**reply, "request_id": request_id}
    return msgspec.json.encode(reply).decode()


def encoded(entry: Mapping[str, Any]) -> Encoded:
    """Encode an entry of a list ahead of the answer that it becomes part of."""
    return Encoded(msgspec.json.encode(entry))


def error(failure: ProtocolError) -> str:
    """Build an error object; it has no ``type``, which is how clients tell it from an answer."""
    reply: dict[str, Any] = {
        "status": "error",
        "code": failure.code,
        "message": failure.message,
    }
    if failure.retry_after is not None:
        reply["retry_after"] = failure.retry_after
    return encode(reply, failure.request_id)


def auth_succeeded(principal: Principal, request_id: RequestId) -> str:
    """Build the answer to a good key."""
    return encode(
        {
            "type": "auth",
            "status": "success",
            "message": "Authentication successful",
            "broker": broker_name(principal),
            "user_id": principal.username,
            "supported_features": {"ltp": True, "quote": True, "depth": True},
        },
        request_id,
    )


def auth_failed(code: str, message: str, request_id: RequestId) -> str:
    """Build the answer to a wrong key.

    ``message`` never contains "success" or "authenticated": AmiBroker takes either for a yes.
    """
    return encode({"type": "auth", "status": "error", "code": code, "message": message}, request_id)


def broker_name(principal: Principal) -> str:
    """Name the broker of the default account."""
    accounts = principal.accounts or principal.away
    return accounts[0].broker if accounts else _NO_BROKER


def overall_status(succeeded: int, failed: int) -> str:
    """Sum up a request of several items."""
    if not failed:
        return "success"
    return "partial" if succeeded else "error"


def subscribe_reply(
    entries: Sequence[Mapping[str, Any]],
    broker: str,
    request_id: RequestId = None,
    *,
    written: Sequence[Mapping[str, Any] | Encoded] | None = None,
) -> str:
    """Build the answer to a subscribe, one entry per item and in the order of the request.

    ``written`` are the same entries as far as they are encoded.
    """
    failed = [entry for entry in entries if entry["status"] == "error"]
    reply: dict[str, Any] = {
        "type": "subscribe",
        "status": overall_status(len(entries) - len(failed), len(failed)),
        "subscriptions": entries if written is None else written,
        "message": _sentence("Subscribed", len(entries) - len(failed), failed),
        "broker": broker,
    }
    if len(failed) == len(entries) and failed:
        reply["code"] = failed[0]["code"]
    return encode(reply, request_id)


def unsubscribe_reply(
    successful: Sequence[Mapping[str, Any] | Encoded],
    failed: Sequence[Mapping[str, Any]],
    broker: str,
    request_id: RequestId = None,
) -> str:
    """Build the answer to an unsubscribe; every (symbol, mode) that ended has its own entry."""
    reply: dict[str, Any] = {
        "type": "unsubscribe",
        "status": overall_status(len(successful), len(failed)),
        "successful": successful,
        "failed": failed,
        "message": _sentence("Unsubscribed", len(successful), failed),
        "broker": broker,
    }
    if failed and not successful:
        reply["code"] = failed[0]["code"]
    return encode(reply, request_id)


def _sentence(verb: str, succeeded: int, failed: Sequence[Mapping[str, Any]]) -> str:
    if not failed:
        return f"{verb}: {succeeded}."
    return f"{verb}: {succeeded}; failed: {len(failed)}. {failed[0]['message']}"


def switch_reply(action: str, enabled: bool, what: str, request_id: RequestId) -> str:
    """Build the answer to switching a kind of message on or off."""
    message = f"{what} {'on' if enabled else 'off'}."
    return encode({"type": action, "status": "success", "message": message}, request_id)


def pong(request: Ping, server_timestamp_ms: int) -> str:
    """Build the answer to a ping; echoes only what was given."""
    reply: dict[str, Any] = {
        "type": "pong",
        "status": "success",
        "server_timestamp": server_timestamp_ms,
    }
    if request.timestamp is not None:
        reply["client_timestamp"] = request.timestamp
    if request.ping_id is not None:
        reply["_pingId"] = request.ping_id
    return encode(reply, request.request_id)


def reconnect(after_ms: int) -> str:
    """Build the farewell of a server that restarts."""
    return encode({"type": "reconnect", "after_ms": after_ms})


def supported_brokers(brokers: Sequence[str], request_id: RequestId) -> str:
    """Build the list of brokers."""
    return encode(
        {
            "type": "supported_brokers",
            "status": "success",
            "brokers": list(brokers),
            "count": len(brokers),
        },
        request_id,
    )


def list_reply(subscriptions: Sequence[Mapping[str, Any] | Encoded], request_id: RequestId) -> str:
    """Build what a client holds."""
    return encode(
        {
            "type": "list_subscriptions",
            "status": "success",
            "subscriptions": subscriptions,
            "count": len(subscriptions),
        },
        request_id,
    )


def broker_info(
    principal: Principal,
    stats: Sequence[PoolStats | None],
    status: FeedStatus | None,
    held: int,
    max_held: int,
    request_id: RequestId,
) -> str:
    """Build limits and usage of the user's pools; unknown numbers are left out.

    ``stats`` are of the first accounts, in their order; those of the default account stand at the
    top as well, and ``status`` is its feed's.
    """
    known = [_usage(each) for each in stats]
    unasked: list[dict[str, Any]] = [{} for _ in principal.accounts[len(known) :]]
    reply: dict[str, Any] = {
        "type": "broker_info",
        "status": "success",
        "broker": broker_name(principal),
        "adapter_status": "not_configured" if status is None else _ADAPTER_STATUS[status],
        "user_id": principal.username,
        "accounts": [
            {
                "broker": account.broker,
                "label": account.label,
                "pool_id": account.pool_id,
                **usage,
            }
            for account, usage in zip(principal.accounts, [*known, *unasked], strict=True)
        ],
        "client": {"subscriptions": held, "max_subscriptions": max_held},
    }
    if status is not None:
        reply["feed_status"] = status
    if stats and stats[0] is not None:
        reply |= known[0]
        reply["reason"] = stats[0].reason
    return encode(reply, request_id)


def _usage(stats: PoolStats | None) -> dict[str, Any]:
    """Return limits and usage of one pool, or nothing while no worker answers for it."""
    if stats is None:
        return {}
    limits = {
        "max_connections": stats.max_connections,
        "symbols_per_connection": stats.symbols_per_connection,
        "capacity": stats.capacity,
    }
    usage = {
        "connections": stats.connected,
        "trying": stats.trying,
        "used": stats.used,
        "wanted": stats.wanted,
        "confirmed": stats.confirmed,
        "clients": stats.clients,
        "ticks_per_second": stats.ticks_per_second,
    }
    return {"limits": limits, "usage": usage}


def feed_object(
    account: AccountRef,
    status: FeedStatus,
    since_ms: int,
    reason: str,
    *,
    exchange: str | None = None,
    symbols: Iterable[str] | None = None,
) -> str:
    """Build one statement on a feed; without ``symbols`` it speaks of the whole pool."""
    reply: dict[str, Any] = {
        "type": "feed",
        "status": status,
        "broker": account.broker,
        "account": account.label,
        "pool_id": account.pool_id,
        "since": since_ms,
        "reason": reason,
    }
    if exchange is not None and symbols is not None:
        reply["exchange"] = exchange
        reply["symbols"] = list(symbols)
    return encode(reply)


def feed_change(
    account: AccountRef,
    change: FeedChange,
    held: Collection[Feed],
    named: Collection[InstrumentKey] | None = None,
) -> list[str]:
    """Build what one client is told of a change: of instruments, only those that it holds.

    ``named`` is a set of the change's instruments, for whoever tells many clients: then one that
    holds less than is named costs what it holds.
    """
    if change.keys is None:
        return [feed_object(account, change.status, change.since_ms, change.reason)]
    pool_id = change.pool_id
    if named is not None and len(held) < len(named):
        told = [feed.key for feed in held if feed.pool_id == pool_id and feed.key in named]
    else:
        told = [key for key in change.keys if Feed(pool_id, key) in held]
    by_exchange: dict[str, list[str]] = {}
    for key in told:
        by_exchange.setdefault(key.exchange, []).append(key.symbol)
    return [
        feed_object(
            account,
            change.status,
            change.since_ms,
            change.reason,
            exchange=exchange,
            symbols=symbols,
        )
        for exchange, symbols in by_exchange.items()
    ]


# The names that OpenAlgo's clients read (SDK 2.0.5), and those that brokers' own objects use.
_ORDER_FIELDS = (
    ("orderid", "order_id"),
    ("symbol", "tradingsymbol"),
    ("action", "transaction_type"),
    ("pricetype", "order_type"),
    ("order_status", "status"),
    ("rejection_reason", "status_message"),
)


def order_update(account: AccountRef, order: Mapping[str, Any]) -> str:
    """Build one order update: the broker's own fields beside ``type``; none of them replaces it."""
    reply: dict[str, Any] = {
        name: value for name, value in order.items() if isinstance(name, str) and value is not None
    }
    for name, source in _ORDER_FIELDS:
        if name not in reply and source in reply:
            reply[name] = reply[source]
    status = reply.get("order_status")
    if isinstance(status, str):
        reply["order_status"] = " ".join(status.split()).lower()
    reply["type"] = "order_update"
    reply["broker"] = account.broker
    return encode(reply)
