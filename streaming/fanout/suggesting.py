"""The nearest names of symbols that a pool does not know, for the answer to a subscribe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping, Sequence

import msgspec

from brokers.pool_service import Outcome, OutcomeState, RefusalCode
from streaming.fanout.look_up_log import LookUp, LookUpLog
from streaming.ports.directory import Directory
from streaming.protocol.held import Feed
from streaming.protocol.session import ClientSession
from streaming.shares.budget import Cost
from streaming.shares.share import Share

__all__ = ["suggest_names"]

_TIMEOUT_SECONDS = 2.0
_QUERIES_EACH = 5  # about as many as one look for the nearest names takes


async def suggest_names(
    directory: Directory,
    session: ClientSession,
    outcomes: MutableMapping[Feed, Outcome],
    max_feeds: int,
    share: Share,
    log: LookUpLog,
) -> dict[Feed, Sequence[str]]:
    """Look up the nearest names of up to ``max_feeds`` unknown symbols.

    Where a broker has no instruments at all, the outcomes of its symbols say so. A failure, more
    than two seconds, or a user who has had too many only costs the suggestions. May be cancelled.
    """
    unknown = [
        feed
        for feed, outcome in outcomes.items()
        if outcome.state is OutcomeState.REFUSED and outcome.code is RefusalCode.SYMBOL_NOT_FOUND
    ]
    found: dict[Feed, Sequence[str]] = {}
    unlisted: set[str] = set()
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            for feed in unknown[:max_feeds]:
                account = session.owns(feed.pool_id)
                if account is not None:
                    if not share.try_spend(Cost.QUERIES, _QUERIES_EACH):
                        break
                    found[feed] = await directory.suggest(account.broker, *feed.key)
                    if not found[feed]:
                        unlisted.add(account.broker)
            for broker in unlisted:
                if reason := await directory.why_not_listed(broker):
                    _say(reason, broker, session, outcomes, unknown)
    except Exception as error:  # supervision point: the answer itself must not fail
        log.failed(LookUp.NEAREST_NAMES, error)
    else:
        if found:
            log.worked(LookUp.NEAREST_NAMES)
    return found


def _say(
    reason: str,
    broker: str,
    session: ClientSession,
    outcomes: MutableMapping[Feed, Outcome],
    unknown: Iterable[Feed],
) -> None:
    """Let the outcomes of a broker's symbols give this reason."""
    for feed in unknown:
        account = session.owns(feed.pool_id)
        if account is not None and account.broker == broker:
            outcomes[feed] = msgspec.structs.replace(outcomes[feed], message=reason)
