"""One client's session: who it is, what it holds, what to ask upstream and what it is told. Pure.

A subscribe runs in two steps, because the answer of the pool lies between them: ``plan_subscribe``
says what to want, ``finish_subscribe`` turns the outcomes into the reply and the lines to join.
Unsubscribing never waits for anybody: one step gives the reply, and ``upstream`` then says what the
pools have to be told about the feeds that it touched.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from itertools import zip_longest
from typing import Any

import msgspec

from brokers.pool_service import Outcome, OutcomeState, Want
from brokers.types import FeedMode, InstrumentKey
from streaming.ports.directory import AccountRef, Principal
from streaming.protocol import entries, replies
from streaming.protocol.held import (
    AccountsChange,
    Departure,
    Feed,
    Held,
    Leaving,
    Line,
    Upstream,
    shared_feed,
    shared_held,
    shared_line,
)
from streaming.protocol.parsing import split_suffix
from streaming.protocol.replies import encoded
from streaming.protocol.subscribe_plan import Asked, Found, Granted, SubscribePlan, SubscribeResult
from streaming.protocol.vocabulary import (
    DEFAULT_DEPTH_LEVELS,
    ErrorCode,
    InvalidItem,
    RequestId,
    Subscribe,
    SubscribeItem,
    Unsubscribe,
    UnsubscribeItem,
)

__all__ = [
    "ClientSession",
    "SessionState",
    "SubscribePlan",
    "SubscribeResult",
]


class SessionState(Enum):
    """The standing of a session.

    It moves down this list, except that it awaits a key again where one could not be looked up.
    """

    AWAITING_AUTH = "awaiting_auth"
    AUTHENTICATING = "authenticating"
    READY = "ready"
    CLOSED = "closed"


# Stands for each answer of thousands that grants something.
_SUCCESS: dict[str, Any] = {"status": "success"}
_NO_DETAILS: Mapping[str, int] = {}
_ALL_HELD = (
    "All connections of this user together hold as many instruments as they may; "
    "unsubscribe some, or close a connection."
)
_MOVES = {
    SessionState.AWAITING_AUTH: {SessionState.AUTHENTICATING, SessionState.CLOSED},
    SessionState.AUTHENTICATING: {
        SessionState.AWAITING_AUTH,
        SessionState.READY,
        SessionState.CLOSED,
    },
    SessionState.READY: {SessionState.CLOSED},
    SessionState.CLOSED: {SessionState.CLOSED},
}


class ClientSession:
    """Decisions for one client. Not thread-safe; one request at a time.

    Args:
        max_instruments: how many instruments the client may hold at once.
    """

    def __init__(self, *, max_instruments: int = 10_000) -> None:
        if max_instruments < 1:
            raise ValueError("max_instruments must be at least 1")
        self.max_instruments = max_instruments
        self.state = SessionState.AWAITING_AUTH  # changed by ``move`` only
        self.principal: Principal | None = None  # from ``admit`` on
        # What it reads, and what it keeps of accounts that are away.
        self.held: dict[Feed, Held] = {}
        self.wants_orders = False
        self.wants_status = False
        self._plan: SubscribePlan | None = None  # of the subscribe under way
        # Of a request under way: what it may add to what is held, from its first item on.
        self._fresh: set[Feed] = set()

    def __repr__(self) -> str:
        user = self.principal.username if self.principal else None
        return f"<ClientSession {self.state.value} user={user!r} instruments={len(self.held)}>"

    def move(self, state: SessionState) -> None:
        """Change the state.

        Raises:
            ValueError: the session cannot move there from where it stands.
        """
        if state not in _MOVES[self.state]:
            raise ValueError(f"a session cannot go from {self.state.value} to {state.value}")
        self.state = state

    def admit(self, principal: Principal) -> None:
        """Begin to serve ``principal``; the session must be authenticating."""
        self.move(SessionState.READY)
        self.principal = principal

    @property
    def wished(self) -> int:
        """The number of instruments that the client holds, and asks for in addition right now."""
        return len(self.held) + len(self._fresh)

    @property
    def user(self) -> Principal:
        """The principal of a session that was admitted."""
        if self.principal is None:
            raise ValueError("the session has no principal yet")
        return self.principal

    def plan_subscribe(
        self, request: Subscribe, exact: Collection[InstrumentKey] = ()
    ) -> SubscribePlan:
        """Decide what to ask the pools; items that cannot be served are already marked.

        ``exact`` are those that are called as they stand, whatever their symbols end in.
        """
        plan = SubscribePlan(request.request_id, exact)
        self.plan_items(plan, request.items)
        return self.begin(plan)

    def plan_items(self, plan: SubscribePlan, items: Iterable[SubscribeItem | InvalidItem]) -> None:
        """Decide what to ask the pools for some more items of a request."""
        self._fresh = plan.fresh
        plan.items += [self._plan_item(item, plan) for item in items]

    def begin(self, plan: SubscribePlan) -> SubscribePlan:
        """Carry out ``plan`` from here on: late outcomes count until it is finished."""
        self._plan = plan
        return plan

    def plan_return(self, feeds: Iterable[Feed]) -> SubscribePlan:
        """Decide what to ask the pools of ``feeds`` whose accounts are there again."""
        plan = SubscribePlan(None)
        for feed in feeds:
            held = self.held.get(feed)
            if held is None or held.account.away:
                continue
            plan.planned[feed] = shared_held(held.account, held.lines)
            for line, levels in held.lines.items():
                name = feed.key.symbol + line.suffix
                item = SubscribeItem(name, feed.key.exchange, line.mode, levels)
                plan.items.append(Asked(item, feed, line, held.account, is_back=True))
        return self.begin(plan)

    def _plan_item(
        self, item: SubscribeItem | InvalidItem, plan: SubscribePlan
    ) -> Asked | dict[str, Any]:
        if isinstance(item, InvalidItem):
            return entries.failed(item.symbol, item.exchange, item.code, item.message)
        account = self.user.account_for(item.exchange)
        if account is None:
            message = self._no_account(item.exchange)
            return entries.with_error(item, None, ErrorCode.SYMBOL_NOT_FOUND, message)
        name, levels_asked = split_suffix(item.symbol)
        if levels_asked is not None and (item.exchange, item.symbol) in plan.exact:
            name, levels_asked = item.symbol, None
            own = item.own_depth_levels or DEFAULT_DEPTH_LEVELS
            item = msgspec.structs.replace(item, depth_levels=own)
        offered = account.depth_levels
        if item.mode is FeedMode.DEPTH and offered and item.depth_levels not in offered:
            levels = ", ".join(map(str, offered))
            message = f"{account.broker} offers {levels} levels of depth, not {item.depth_levels}."
            return entries.with_error(item, account, ErrorCode.UNSUPPORTED_DEPTH_LEVEL, message)
        feed = shared_feed(account.pool_id, item.exchange, name)
        current, wanted = self.held.get(feed), plan.planned.get(feed)
        if current is None and feed not in plan.fresh:
            if len(self.held) + len(plan.fresh) >= self.max_instruments:
                message = f"One client holds at most {self.max_instruments} instruments."
                return entries.with_error(item, account, ErrorCode.SUBSCRIPTION_LIMIT, message)
            if plan.room is not None:
                if plan.room < 1:
                    plan.crowded += 1
                    return entries.with_error(
                        item, account, ErrorCode.SUBSCRIPTION_LIMIT, _ALL_HELD
                    )
                plan.room -= 1
            plan.fresh.add(feed)
        if wanted is None:
            wanted = _claim(account, current)
        line = shared_line(item.mode, "" if levels_asked is None else item.symbol[len(name) :])
        plan.planned[feed] = wanted.adding({line: item.depth_levels})
        return Asked(item, feed, line, account)

    def _no_account(self, exchange: str) -> str:
        traded = sorted({name for account in self.user.accounts for name in account.exchanges})
        if not traded:
            return "No broker account is set up for this user; add one on the Brokers page."
        meant = difflib.get_close_matches(exchange, traded, n=1)
        return (
            f"None of your broker accounts trades exchange {exchange!r}; "
            f"they trade {', '.join(traded[:20])}."
            + (f" Did you mean {meant[0]}?" if meant else "")
        )

    def prepare_answers(self, plan: SubscribePlan, count: int, found: Found) -> None:
        """Make the answers to the next ``count`` items ahead of ``finish_subscribe``.

        It takes what was found, too. Nothing is held by it; an answer that turns out to be out of
        date by then is made again.
        """
        if plan.prepared_for != self.principal:
            plan.prepared, plan.prepared_for = [], self.principal
        start = len(plan.prepared)
        for asked in plan.items[start : start + count]:
            if isinstance(asked, dict):
                plan.prepared.append(None)
            else:
                plan.prepared.append(self._grant(plan, asked, found))

    def _grant(self, plan: SubscribePlan, asked: Asked, found: Found) -> Granted:
        feed, late = asked.feed, plan.late.get(asked.feed)
        outcome = self._outcome_now(asked, found.outcomes.get(feed) if late is None else late)
        nearest, age_ms = found.suggestions.get(feed, ()), found.ages_ms.get(feed)
        answer = entries.accepted_or_refused(asked.item, asked.account, outcome, nearest, age_ms)
        written = encoded(answer)
        if outcome is None or outcome.state is OutcomeState.REFUSED:
            return Granted(answer, written, None, late, is_unanswered=outcome is None)
        held = shared_held(
            self._account(feed.pool_id) or asked.account,
            {asked.line: asked.item.depth_levels},
            active=outcome.state is OutcomeState.ACTIVE,
            waits=entries.waits_for_room(outcome),
            delay=entries.delay_of(outcome),
        )
        # What is granted is sent as it is written; of a refusal the answer's sum needs the words.
        kept = answer if answer["status"] == "error" else _SUCCESS
        return Granted(kept, written, held, late)

    def finish_subscribe(self, plan: SubscribePlan, found: Found) -> SubscribeResult:
        """Take the pools' outcomes into what the client holds and build the ack.

        A refusal that arrived while the plan was under way counts more than an earlier acceptance.
        """
        self.abandon_subscribe()
        prepared = plan.prepared if plan.prepared_for == self.principal else ()
        late = plan.late
        said: list[Granted | dict[str, Any]] = []
        joined: list[tuple[Feed, Line]] = []
        unsettled: dict[Feed, None] = {}
        away: dict[Feed, None] = {}
        for asked, made in zip_longest(plan.items, prepared):
            if isinstance(asked, dict):
                said.append(asked)
                continue
            feed, line = asked.feed, asked.line
            if asked.is_back and not self._holds(feed, line):
                unsettled[feed] = None  # given up while the pools were asked
                continue
            granted = made
            if granted is None or (late and granted.late is not late.get(feed)):
                granted = self._grant(plan, asked, found)
            said.append(granted)
            if granted.held is None:
                self._refuse(asked, granted, unsettled)
                continue
            held = self._take(feed, granted.held)
            if held.account.away:
                away[feed] = None
                continue
            joined.append((feed, line))
            if asked.account.away:
                unsettled[feed] = None  # it came back meanwhile, and was not asked
        if self.user.away:
            for feed, line in joined:
                unsettled.update(dict.fromkeys(self._leave_away(feed, line)))
        return SubscribeResult(self._ack(plan, said), joined, list(unsettled), list(away))

    def _ack(self, plan: SubscribePlan, said: Sequence[Granted | dict[str, Any]]) -> str:
        """Build the answer to a subscribe; empty where there is nothing to say."""
        if not said:
            return ""
        answers = [each if isinstance(each, dict) else each.answer for each in said]
        written = [each if isinstance(each, dict) else each.encoded for each in said]
        broker = replies.broker_name(self.user)
        return replies.subscribe_reply(answers, broker, plan.request_id, written=written)

    def _outcome_now(self, asked: Asked, outcome: Outcome | None) -> Outcome | None:
        """Return what became of an item whose account may be another one since it was asked for."""
        account = self._account(asked.feed.pool_id)
        if account is None:
            return None
        want = Want(asked.feed.key, asked.item.mode, asked.item.depth_levels)
        if account.away:
            return entries.away_outcome(want, account)
        if outcome is None and asked.account.away:
            outcome = Outcome(want.key, OutcomeState.PENDING, want.mode, want.depth_levels)
        was_away = asked.is_back or bool(asked.account.away)
        return entries.back_outcome(outcome) if outcome is not None and was_away else outcome

    def _refuse(self, asked: Asked, granted: Granted, unsettled: dict[Feed, None]) -> None:
        """Note what the pools must be told after an item that was not granted."""
        # A refused wish replaced the one in force before it, which must be said again; one without
        # an answer may be in force and must be taken back.
        if granted.is_unanswered or asked.feed in self.held:
            unsettled[asked.feed] = None
        if asked.is_back:
            self._drop(asked.feed, asked.line)

    def _take(self, feed: Feed, granted: Held) -> Held:
        """Hold what was granted, beside the lines that are held of the feed."""
        held = self.held.get(feed)
        if held is not None:
            granted = granted.but(lines={**held.lines, **granted.lines})
        self.held[feed] = granted
        return granted

    def _leave_away(self, feed: Feed, line: Line) -> list[Feed]:
        """Hold a line at one account: one that is away gives up what another serves now."""
        others = (Feed(account.pool_id, feed.key) for account in self.user.away)
        left = [other for other in others if self._holds(other, line)]
        for other in left:
            self._drop(other, line)
        return left

    def reads(self, feed: Feed, line: Line) -> bool:
        """Tell whether the client may get the ticks of a line now."""
        held = self.held.get(feed)
        is_here = self.state is SessionState.READY
        return is_here and held is not None and line in held.lines and not held.account.away

    def _holds(self, feed: Feed, line: Line) -> bool:
        held = self.held.get(feed)
        return held is not None and line in held.lines

    def abandon_subscribe(self) -> None:
        """Forget the plan under way; its request failed or was cancelled."""
        self._plan = None
        self._fresh = set()

    def unsubscribe(self, request: Unsubscribe) -> Departure:
        """Give up the named lines; without a mode, every line under that name."""
        leaving = Leaving()
        self.give_up(request.items, leaving)
        return self.left(leaving, request.request_id)

    def unsubscribe_all(self, request_id: RequestId) -> Departure:
        """Give up everything."""
        leaving = Leaving()
        self.give_up_feeds(list(self.held), leaving)
        return self.left(leaving, request_id)

    def give_up(
        self, items: Iterable[UnsubscribeItem | InvalidItem], leaving: Leaving
    ) -> Sequence[tuple[Feed, Line]]:
        """Give up lines by name, note the words for it in ``leaving`` and return these lines."""
        gone: list[tuple[Feed, Line]] = []
        for item in items:
            if isinstance(item, InvalidItem):
                leaving.failed.append(
                    entries.failed(item.symbol, item.exchange, item.code, item.message)
                )
                continue
            lines = self._lines_named(item)
            if not lines:
                message = f"{item.exchange}:{item.symbol} is not subscribed in that mode."
                entry = entries.failed(
                    item.symbol, item.exchange, ErrorCode.NOT_SUBSCRIBED, message
                )
                if item.mode is not None:
                    entry["mode"] = int(item.mode)
                leaving.failed.append(entry)
                continue
            for feed, line in lines:
                leaving.ended.append(encoded(entries.ended(feed, line, self.held[feed].account)))
                self._drop(feed, line)
            gone += lines
        leaving.lines += gone
        return gone

    def give_up_feeds(self, feeds: Iterable[Feed], leaving: Leaving) -> Sequence[tuple[Feed, Line]]:
        """Give up all lines of ``feeds``; as ``give_up``."""
        gone: list[tuple[Feed, Line]] = []
        for feed in feeds:
            held = self.held.pop(feed, None)
            if held is not None:
                gone += [(feed, line) for line in held.lines]
                leaving.ended += [
                    encoded(entries.ended(feed, line, held.account)) for line in held.lines
                ]
        leaving.lines += gone
        return gone

    def left(self, leaving: Leaving, request_id: RequestId) -> Departure:
        """Return what to tell the client of all that it gave up."""
        broker = replies.broker_name(self.user)
        reply = replies.unsubscribe_reply(leaving.ended, leaving.failed, broker, request_id)
        return Departure(reply, leaving.lines)

    def _lines_named(self, item: UnsubscribeItem) -> list[tuple[Feed, Line]]:
        name, levels = split_suffix(item.symbol)
        suffix = "" if levels is None else item.symbol[len(name) :]
        found = []
        for account in (*self.user.accounts, *self.user.away):
            feed = Feed(account.pool_id, InstrumentKey(item.exchange, item.symbol))
            if suffix and feed not in self.held:
                feed = Feed(account.pool_id, InstrumentKey(item.exchange, name))
            elif suffix:
                suffix = ""  # it is held under just this name
            held = self.held.get(feed)
            if held is not None:
                found += [
                    (feed, line)
                    for line in held.lines
                    if line.suffix == suffix and item.mode in (None, line.mode)
                ]
        return found

    def _drop(self, feed: Feed, line: Line) -> None:
        held = self.held.get(feed)
        if held is None:
            return
        left = held.without(line)
        if left.lines:
            self.held[feed] = left
        else:
            del self.held[feed]

    def upstream(self, feeds: Iterable[Feed]) -> Upstream:
        """Return what the pools must be told so that they know what is held of ``feeds`` now."""
        wants: dict[str, list[Want]] = {}
        releases: dict[str, list[InstrumentKey]] = {}
        for feed in feeds:
            held = self.held.get(feed)
            if held is None:
                releases.setdefault(feed.pool_id, []).append(feed.key)
            else:
                wants.setdefault(feed.pool_id, []).append(held.to_want(feed.key))
        return Upstream(wants, releases)

    def take_outcomes(self, pool_id: str, outcomes: Iterable[Outcome]) -> Departure | None:
        """Take a pool's later word on subscriptions; a refusal ends the lines that it concerns.

        Refused at one mode, lines of lower modes stay: another holder's Depth that the broker
        refuses says nothing about this client's LTP. What lost its place to lowered limits stays,
        too, as does what waits for another reason: the client is told, and told again once it is
        active. The departure then names no lines.
        """
        gone: list[tuple[Feed, Line]] = []
        answers: list[dict[str, Any]] = []
        for outcome in outcomes:
            feed = shared_feed(pool_id, *outcome.key)
            if self._plan is not None and feed in self._plan.feeds:
                # Under our name, as its own takes three times as much until the answer is sent.
                details = outcome.details or _NO_DETAILS
                late = msgspec.structs.replace(outcome, key=feed.key, details=details)
                self._plan.late[feed] = late
            held = self.held.get(feed)
            if held is None:
                continue
            if outcome.state is not OutcomeState.REFUSED:
                answers += self._follow(feed, held, outcome)
                continue
            for line in [line for line in held.lines if line.mode >= outcome.mode]:
                gone.append((feed, line))
                answers.append(entries.refused_later(feed, line, held.account, outcome))
                self._drop(feed, line)
        if not answers:
            return None
        return Departure(replies.subscribe_reply(answers, replies.broker_name(self.user)), gone)

    def _follow(self, feed: Feed, held: Held, outcome: Outcome) -> list[dict[str, Any]]:
        """Take a pool's word on a line that stays; returns what is news to the client.

        What a pool says while its account is away came too late.
        """
        if held.account.away:
            return []
        before, active = held, outcome.state is OutcomeState.ACTIVE
        if entries.waits_for_room(outcome):
            held = self.held[feed] = held.but(active=active, waits=True)
            lines = [] if before.waits else held.lines
            return [entries.waits(feed, line, held.account, outcome) for line in lines]
        held = self.held[feed] = held.but(active=active, delay=entries.delay_of(outcome))
        if held.delay and held.delay != before.delay:
            return [entries.delayed(feed, line, held.account, outcome) for line in held.lines]
        if active and (before.waits or before.delay):
            held = self.held[feed] = held.but(waits=False)
            return [entries.placed_again(feed, line, held.account) for line in held.lines]
        return []

    def update_principal(self, principal: Principal) -> AccountsChange:
        """Take the principal as it is now.

        Lines of accounts that it lost end; those of accounts that are away are kept, and the client
        is told why nothing comes.
        """
        known, self.principal = self._accounts(), principal
        now = self._accounts()
        lost = tuple(account for pool_id, account in known.items() if pool_id not in now)
        ended: list[tuple[Feed, Line]] = []
        away: list[tuple[Feed, Line]] = []
        back: list[Feed] = []
        answers: dict[str, list[dict[str, Any]]] = {"ended": [], "away": []}
        for feed, held in list(self.held.items()):
            account, before = self._account(feed.pool_id), held.account
            if account is None:
                del self.held[feed]
                ended += [(feed, line) for line in held.lines]
                answers["ended"] += [_of_lost_account(feed, line, before) for line in held.lines]
                continue
            held = self.held[feed] = held.but(account=account)
            if not account.away:
                back += [feed] if before.away else []
            elif account.away != before.away:
                away += [(feed, line) for line in held.lines]
                answers["away"] += self._put_away(feed, held)
        return AccountsChange(
            self._departure(answers["ended"], ended),
            self._departure(answers["away"], away),
            back,
            lost,
        )

    def _put_away(self, feed: Feed, held: Held) -> list[dict[str, Any]]:
        outcome = entries.away_outcome(held.to_want(feed.key), held.account)
        delay = entries.delay_of(outcome)
        held = self.held[feed] = held.but(active=False, waits=False, delay=delay)
        return [entries.delayed(feed, line, held.account, outcome) for line in held.lines]

    def _departure(
        self, answers: Sequence[dict[str, Any]], lines: Sequence[tuple[Feed, Line]]
    ) -> Departure | None:
        if not lines:
            return None
        return Departure(replies.subscribe_reply(answers, replies.broker_name(self.user)), lines)

    def held_away(self) -> list[Feed]:
        """Return what is held of accounts that are away."""
        return [feed for feed, held in self.held.items() if held.account.away]

    def owns(self, pool_id: str) -> AccountRef | None:
        """Return this client's account of the pool, or None when it belongs to somebody else."""
        accounts = self.principal.accounts if self.principal else ()
        return next((account for account in accounts if account.pool_id == pool_id), None)

    def _accounts(self) -> dict[str, AccountRef]:
        """Return this client's accounts by their pools, those that are away included."""
        known = (*self.principal.accounts, *self.principal.away) if self.principal else ()
        return {account.pool_id: account for account in known}

    def _account(self, pool_id: str) -> AccountRef | None:
        """Return this client's account of the pool, be it away."""
        away = self.principal.away if self.principal else ()
        return self.owns(pool_id) or next((each for each in away if each.pool_id == pool_id), None)


def _claim(account: AccountRef, current: Held | None) -> Held:
    """Return a claim on what is held already, if anything is."""
    return shared_held(account, {} if current is None else current.lines)


def _of_lost_account(feed: Feed, line: Line, account: AccountRef) -> dict[str, Any]:
    return {
        **entries.ended(feed, line, account),
        "status": "error",
        "code": ErrorCode.BROKER_UNAVAILABLE,
        "message": "The broker account was removed.",
    }
