"""Requests of an admitted client, one by one: each becomes calls on its session and the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from streaming import scopes
from streaming.clients.client import Client
from streaming.fanout.hub import GatewayHub
from streaming.ports.directory import Principal
from streaming.ports.status import StatusView
from streaming.protocol import replies
from streaming.protocol.parsing import parse_request, parse_steps
from streaming.protocol.session import SessionState
from streaming.protocol.vocabulary import (
    ErrorCode,
    GetBrokerInfo,
    GetSupportedBrokers,
    ListSubscriptions,
    Ping,
    Pong,
    ProtocolError,
    Request,
    Subscribe,
    SwitchOrders,
    SwitchStatus,
    Unsubscribe,
    UnsubscribeAll,
    WatchPools,
)
from streaming.scopes import Scope
from streaming.shares.budget import Cost
from streaming.shares.share import Share
from streaming.shares.turns import FRAME_COST
from streaming.slices import SLICE

__all__ = ["serve", "serve_anyone", "serve_frame"]

# What a key must be made for. How live the feeds are is told to all that may read: who gets ticks
# must know whether they are.
_NEEDED: Mapping[type[Request], Scope] = {
    Subscribe: Scope.READ_TICKS,
    Unsubscribe: Scope.READ_TICKS,
    UnsubscribeAll: Scope.READ_TICKS,
    ListSubscriptions: Scope.READ_TICKS,
    SwitchOrders: Scope.READ_TICKS,
    WatchPools: Scope.READ_STATUS,
    GetBrokerInfo: Scope.READ_STATUS,
}
_SHORT_FRAME_BYTES = 4096
_ABOUT_ALL = (ListSubscriptions, UnsubscribeAll)  # short, and what is done may be long
_LISTED_ITEMS = 0.1  # what a line of a list costs, in items: it asks nobody
_MOST_POOLS_ASKED = 8  # for one ``get_broker_info``: each costs a request to a worker


async def serve_anyone(hub: GatewayHub, client: Client, request: Request) -> bool:
    """Serve what needs no authentication; False when ``request`` needs it."""
    match request:
        case Ping():
            client.send(replies.pong(request, hub.wall_clock_ms()))
        case Pong():
            pass
        case GetSupportedBrokers():
            brokers = await hub.directory.supported_brokers()
            client.send(replies.supported_brokers(brokers, request.request_id))
        case _:
            return False
    return True


async def serve_frame(hub: GatewayHub, client: Client, text: str) -> None:
    """Serve one frame of an admitted client, within its user's budget and in the user's turn.

    Raises:
        ProtocolError: it is no request, the client may not do this, or not now.
    """
    share = hub.share_of(client)
    if len(text) > _SHORT_FRAME_BYTES:
        share.spend(Cost.BYTES, len(text))
        await client.wait_for_room()
        async with share.place():
            await share.turn()
            await _serve_request(hub, client, await _parse_long(text, share), share)
        return
    await share.turn(FRAME_COST)
    request = parse_request(text)
    share.spend(Cost.BYTES, len(text), request.request_id)
    if isinstance(request, _ABOUT_ALL) and len(client.session.held) > SLICE:
        await client.wait_for_room()
        async with share.place():
            await _serve_request(hub, client, request, share)
    else:
        await _serve_request(hub, client, request, share)


async def _serve_request(hub: GatewayHub, client: Client, request: Request, share: Share) -> None:
    share.spend(Cost.ITEMS, _items_of(request, client), request.request_id)
    await client.wait_for_room()
    answered = client.answered_bytes
    try:
        await serve(hub, client, request)
    finally:
        share.charge(Cost.BYTES, client.answered_bytes - answered)


async def _parse_long(text: str, share: Share) -> Request:
    """Parse a frame a part in a turn, of which it has the first. As ``parse_request``."""
    steps = parse_steps(text)
    try:
        while True:
            await share.turn(next(steps))
    except StopIteration as done:
        request: Request = done.value
        return request


def _items_of(request: Request, client: Client) -> float:
    """Return how many items a request costs."""
    match request:
        case Subscribe() | Unsubscribe():
            return len(request.items)
        case UnsubscribeAll():
            return len(client.session.held)
        case ListSubscriptions():
            return _LISTED_ITEMS * len(client.session.held)
    return 0


async def serve(hub: GatewayHub, client: Client, request: Request) -> None:
    """Serve one request of ``client``; returns when its answer is queued.

    Cancelled, the request may be in force without an answer; the client is going away then.

    Raises:
        ProtocolError: the client may not do this, or not now.
    """
    if await serve_anyone(hub, client, request):
        return
    session = client.session
    if session.state is not SessionState.READY:
        raise ProtocolError(
            ErrorCode.NOT_AUTHENTICATED,
            "Authenticate first: {'action': 'authenticate', 'api_key': ...}.",
            request_id=request.request_id,
        )
    _check_scope(session.user, request)
    match request:
        case Subscribe():
            await hub.subscribe(client, request)
        case Unsubscribe():
            await hub.unsubscribe(client, request)
        case UnsubscribeAll():
            await hub.unsubscribe_all(client, request)
        case SwitchOrders() | SwitchStatus():
            _switch(hub, client, request)
        case WatchPools():
            _watch_pools(hub, client, request)
        case ListSubscriptions():
            await _list(hub, client, request)
        case GetBrokerInfo():
            await _broker_info(hub, client, request)
        case _:
            raise ProtocolError(
                ErrorCode.INVALID_ACTION,
                "This connection has a user already; connect again to change it.",
                request_id=request.request_id,
            )


def _check_scope(principal: Principal, request: Request) -> None:
    needed = _NEEDED.get(type(request))
    if needed is not None and needed not in principal.scope:
        message = scopes.refusal(needed, principal.scope)
        raise ProtocolError(ErrorCode.FORBIDDEN, message, request_id=request.request_id)


def _switch(hub: GatewayHub, client: Client, request: SwitchOrders | SwitchStatus) -> None:
    session, enabled = client.session, request.enabled
    is_status = isinstance(request, SwitchStatus)
    if is_status:
        session.wants_status = enabled
    else:
        session.wants_orders = enabled
    what = "Feed status" if is_status else "Order updates"
    client.send(replies.switch_reply(request.action, enabled, what, request.request_id))
    if is_status and enabled:
        hub.tell_feeds(client)


def _watch_pools(hub: GatewayHub, client: Client, request: WatchPools) -> None:
    if request.enabled:
        view = StatusView(client.session.user.user_id, request.page, request.search)
        try:
            hub.board.watch(client, view)
        except ProtocolError as refusal:
            refusal.request_id = request.request_id
            raise
    else:
        hub.board.leave(client)
    client.send(
        replies.switch_reply(request.action, request.enabled, "Pool status", request.request_id)
    )


async def _list(hub: GatewayHub, client: Client, request: ListSubscriptions) -> None:
    entries = await hub.listing(client)
    client.send(replies.list_reply(entries, request.request_id))


async def _broker_info(hub: GatewayHub, client: Client, request: GetBrokerInfo) -> None:
    session = client.session
    asked = session.user.accounts[:_MOST_POOLS_ASKED]
    hub.share_of(client).spend(Cost.QUERIES, len(asked), request.request_id)
    found = await asyncio.gather(*(hub.link.stats(each.pool_id) for each in asked))
    client.send(
        replies.broker_info(
            session.user,
            found,
            hub.link.feed(asked[0].pool_id).status if asked else None,
            len(session.held),
            session.max_instruments,
            request.request_id,
        )
    )
