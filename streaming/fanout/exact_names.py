"""Symbols that end in a colon and a number, and are called so: no depth is meant by it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from brokers.types import InstrumentKey
from streaming.fanout.look_up_log import LookUp, LookUpLog
from streaming.ports.directory import Directory
from streaming.protocol.parsing import split_suffix
from streaming.protocol.session import ClientSession
from streaming.protocol.vocabulary import Subscribe, SubscribeItem
from streaming.shares.budget import Cost
from streaming.shares.share import Share
from streaming.slices import SLICE, slices

__all__ = ["find_exact_names"]

_TIMEOUT_SECONDS = 2.0


async def find_exact_names(
    directory: Directory,
    session: ClientSession,
    request: Subscribe,
    share: Share,
    log: LookUpLog,
) -> Collection[InstrumentKey]:
    """Look up which of a request's symbols with a suffix are listed as they stand.

    A failure, or more than two seconds, takes all of them for suffixes. May be cancelled.

    Raises:
        ProtocolError: the user has asked for too many look-ups.
    """
    asked: dict[str, list[InstrumentKey]] = {}
    for _, part in slices(request.items):
        await share.turn(len(part))
        for item in part:
            if not isinstance(item, SubscribeItem) or split_suffix(item.symbol)[1] is None:
                continue
            account = session.user.account_for(item.exchange)
            if account is not None:
                name = InstrumentKey(item.exchange, item.symbol)
                asked.setdefault(account.broker, []).append(name)
    found: set[InstrumentKey] = set()
    if not asked:
        return found
    queries = sum(1 + len(keys) / SLICE for keys in asked.values())
    share.spend(Cost.QUERIES, queries, request.request_id)
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            for broker, keys in asked.items():
                found.update(await directory.listed(broker, keys))
    except Exception as error:  # supervision point: the answer itself must not fail
        log.failed(LookUp.EXACT_NAMES, error)
    else:
        log.worked(LookUp.EXACT_NAMES)
    return found
