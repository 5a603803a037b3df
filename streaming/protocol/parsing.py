"""Text frames in, typed requests out. Pure.

What is tolerated here is what published OpenAlgo clients send; ``docs/protocol.md`` says what that
is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from brokers.types import FeedMode
from streaming.protocol.vocabulary import (
    DEFAULT_DEPTH_LEVELS,
    Authenticate,
    ErrorCode,
    GetBrokerInfo,
    GetSupportedBrokers,
    InvalidItem,
    ListSubscriptions,
    Ping,
    Pong,
    ProtocolError,
    Request,
    RequestId,
    Subscribe,
    SubscribeItem,
    SwitchOrders,
    SwitchStatus,
    Unsubscribe,
    UnsubscribeAll,
    UnsubscribeItem,
    WatchPools,
)
from streaming.slices import slices

__all__ = ["MAX_ITEMS", "parse_mode", "parse_request", "parse_steps", "split_suffix"]

MAX_ITEMS = 10_000
_MAX_SYMBOL_BYTES = 64
_MAX_EXCHANGE_BYTES = 20
# Lists and objects of one frame, as many as ``MAX_ITEMS`` symbols with two each: making more of
# them than that is all that a frame full of brackets would do.
_MAX_PARTS = 2 * MAX_ITEMS + 16
_EXAMPLES = {"symbol": "RELIANCE", "exchange": "NSE"}
_MAX_API_KEY_CHARS = 256
_MAX_ECHO_CHARS = 128
_MAX_DEPTH_LEVELS = 200
_MAX_PAGE = 10_000
_MAX_SEARCH_CHARS = 64
_MODE_NAMES = {"ltp": FeedMode.LTP, "quote": FeedMode.QUOTE, "depth": FeedMode.DEPTH}

_Fields = Mapping[str, Any]
_Item = TypeVar("_Item")


class _Listed(NamedTuple):
    """A request that names instruments, before they are looked at."""

    entries: list[Any]
    item: Callable[[object], Any]
    make: Callable[[list[Any]], Request]


def parse_request(text: str) -> Request:
    """Turn one text frame into a request.

    Raises:
        ProtocolError: the frame is not a request; nothing of it may be acted upon.
    """
    steps = parse_steps(text)
    try:
        while True:
            next(steps)
    except StopIteration as done:
        request: Request = done.value
        return request


def parse_steps(text: str) -> Generator[int, None, Request]:
    """Turn one text frame into a request, which is returned, as ``parse_request`` does.

    Yields how many more instruments of a long one come next, for whoever lets others have a turn.
    """
    parsed = _parse(text)
    if not isinstance(parsed, _Listed):
        return parsed
    items: list[Any] = []
    for start, part in slices(parsed.entries):
        if start:
            yield len(part)
        items += [parsed.item(entry) for entry in part]
        # Four times the size of what was made of it, and it is not needed again.
        parsed.entries[start : start + len(part)] = [None] * len(part)
    return parsed.make(items)


def _parse(text: str) -> Request | _Listed:
    bare = text.strip() if len(text) <= 16 else text
    if bare == "ping":
        return Ping()
    if bare == "pong":
        return Pong()
    fields = _decode(text)
    request_id = _request_id(fields)
    try:
        action = fields.get("action", fields.get("type"))
        if not isinstance(action, str):
            raise ProtocolError(ErrorCode.INVALID_ACTION, "A request names its 'action'.")
        parse = _PARSERS.get(action)
        if parse is None:
            raise ProtocolError(
                ErrorCode.INVALID_ACTION,
                f"Unknown action {action[:40]!r}; known are {', '.join(sorted(_PARSERS))}.",
            )
        return parse(fields, request_id)
    except ProtocolError as error:
        error.request_id = request_id
        raise


def parse_mode(value: object) -> FeedMode:
    """Convert a client's mode: 1 to 3, or a name in any case with spaces around it.

    Raises:
        ProtocolError: ``INVALID_MODE`` for everything else, booleans and floats included.
    """
    if type(value) is int and 1 <= value <= 3:
        return FeedMode(value)
    if isinstance(value, str):
        mode = _MODE_NAMES.get(value.strip().lower())
        if mode is not None:
            return mode
    raise ProtocolError(
        ErrorCode.INVALID_MODE, "A mode is 1 or LTP, 2 or Quote, 3 or Depth, nothing else."
    )


def split_suffix(symbol: str) -> tuple[str, int | None]:
    """Split ``RELIANCE:20`` into symbol and depth levels; without a suffix the levels are None."""
    name, colon, levels = symbol.rpartition(":")
    if colon and name and levels.isascii() and levels.isdigit() and len(levels) <= 3:
        return name, int(levels)
    return symbol, None


def _decode(text: str) -> _Fields:
    if text.count("[") > _MAX_PARTS or text.count("{") > _MAX_PARTS:
        raise ProtocolError(
            ErrorCode.INVALID_JSON,
            f"A frame names at most {MAX_ITEMS} instruments, and nothing else that is as long.",
        )
    # RecursionError is how msgspec refuses nesting that is too deep, UnicodeError a lone surrogate.
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise ProtocolError(ErrorCode.INVALID_JSON, "The frame is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise ProtocolError(ErrorCode.INVALID_JSON, "A request is a JSON object.")
    return fields


def _request_id(fields: _Fields) -> RequestId:
    value = fields.get("request_id")
    if value is None or type(value) is int:
        return value
    if isinstance(value, str) and len(value) <= _MAX_ECHO_CHARS:
        return value
    raise ProtocolError(
        ErrorCode.INVALID_PARAMETERS,
        f"'request_id' is text of at most {_MAX_ECHO_CHARS} characters or an integer.",
    )


def _authenticate(fields: _Fields, request_id: RequestId) -> Request:
    api_key = fields.get("api_key", fields.get("apikey"))
    if not isinstance(api_key, str) or not 0 < len(api_key) <= _MAX_API_KEY_CHARS:
        # An empty or impossible key is refused like any other wrong one.
        api_key = ""
    return Authenticate(api_key=api_key, request_id=request_id)


def _subscribe(fields: _Fields, request_id: RequestId) -> _Listed:
    mode = parse_mode(fields["mode"]) if "mode" in fields else FeedMode.QUOTE
    depth_levels = _depth_levels(fields, DEFAULT_DEPTH_LEVELS)

    names: dict[str, str] = {}  # exchanges of this request, each once for thousands of items

    def item(entry: _Fields, symbol: str, exchange: str) -> SubscribeItem:
        exchange = names.setdefault(exchange, exchange)
        suffix, own = split_suffix(symbol)[1], depth_levels
        try:
            own = _depth_levels(entry, depth_levels)
        except ProtocolError:
            if not suffix:
                raise
        return SubscribeItem(
            symbol=symbol,
            exchange=exchange,
            mode=parse_mode(entry["mode"]) if "mode" in entry else mode,
            depth_levels=suffix or own,
            own_depth_levels=own if suffix and own != DEFAULT_DEPTH_LEVELS else None,
        )

    return _Listed(
        _entries(fields),
        lambda entry: _item(entry, item),
        lambda items: Subscribe(items=items, request_id=request_id),
    )


def _unsubscribe(fields: _Fields, request_id: RequestId) -> _Listed:
    mode = parse_mode(fields["mode"]) if "mode" in fields else None

    def item(entry: _Fields, symbol: str, exchange: str) -> UnsubscribeItem:
        return UnsubscribeItem(
            symbol=symbol,
            exchange=exchange,
            mode=parse_mode(entry["mode"]) if "mode" in entry else mode,
        )

    return _Listed(
        _entries(fields),
        lambda entry: _item(entry, item),
        lambda items: Unsubscribe(items=items, request_id=request_id),
    )


def _entries(fields: _Fields) -> list[Any]:
    entries = fields.get("symbols", fields.get("instruments"))
    if entries is None and "symbol" in fields:
        # Mode and depth already count for the whole request; here they must not be read twice.
        return [{"symbol": fields["symbol"], "exchange": fields.get("exchange")}]
    if not isinstance(entries, list) or not entries:
        raise ProtocolError(
            ErrorCode.INVALID_PARAMETERS,
            "Name instruments: 'symbols', a list of {symbol, exchange}, or a symbol and exchange.",
        )
    if len(entries) > MAX_ITEMS:
        raise ProtocolError(
            ErrorCode.INVALID_PARAMETERS,
            f"One request names at most {MAX_ITEMS} instruments; send several.",
        )
    return entries


def _item(entry: object, build: Callable[[_Fields, str, str], _Item]) -> _Item | InvalidItem:
    fields: _Fields = entry if isinstance(entry, dict) else {}
    symbol, exchange = fields.get("symbol"), fields.get("exchange")
    try:
        return build(
            fields,
            _name(symbol, "symbol", _MAX_SYMBOL_BYTES),
            _exchange(exchange),
        )
    except ProtocolError as error:
        return InvalidItem(
            symbol=symbol[:_MAX_SYMBOL_BYTES] if isinstance(symbol, str) else "",
            exchange=exchange[:_MAX_EXCHANGE_BYTES] if isinstance(exchange, str) else "",
            code=error.code,
            message=error.message,
        )


def _exchange(value: object) -> str:
    """Return an exchange as brokers and topics have it: in capitals, without spaces around it."""
    text = value.strip().upper() if isinstance(value, str) else value
    return _name(text, "exchange", _MAX_EXCHANGE_BYTES)


def _name(value: object, field: str, max_bytes: int) -> str:
    if value is None or value == "":
        raise ProtocolError(
            ErrorCode.INVALID_PARAMETERS, f"'{field}' is missing; e.g. {_EXAMPLES[field]}."
        )
    # Counted in bytes, because that is what a topic of the bus has room for.
    if isinstance(value, str) and value.isprintable() and 0 < len(value.encode()) <= max_bytes:
        return value
    raise ProtocolError(
        ErrorCode.INVALID_PARAMETERS,
        f"'{field}' is text of 1 to {max_bytes} bytes, printable.",
    )


def _depth_levels(fields: _Fields, default: int) -> int:
    value = fields.get("depth", fields.get("depth_level"))
    if value is None:
        return default
    if type(value) is int and 1 <= value <= _MAX_DEPTH_LEVELS:
        return value
    raise ProtocolError(
        ErrorCode.INVALID_PARAMETERS, f"'depth' is an integer from 1 to {_MAX_DEPTH_LEVELS}."
    )


def _watch_pools(fields: _Fields, request_id: RequestId) -> Request:
    page, search = fields.get("page", 1), fields.get("search", "")
    if type(page) is not int or not 1 <= page <= _MAX_PAGE:
        raise ProtocolError(
            ErrorCode.INVALID_PARAMETERS, f"'page' is an integer from 1 to {_MAX_PAGE}."
        )
    # isprintable also refuses the lone surrogates that no answer could carry.
    if not isinstance(search, str) or len(search) > _MAX_SEARCH_CHARS or not search.isprintable():
        raise ProtocolError(
            ErrorCode.INVALID_PARAMETERS,
            f"'search' is text of at most {_MAX_SEARCH_CHARS} characters, printable.",
        )
    return WatchPools(
        action="subscribe_pool_status",
        enabled=True,
        page=page,
        search=search.strip().casefold(),
        request_id=request_id,
    )


def _ping(fields: _Fields, request_id: RequestId) -> Request:
    return Ping(
        timestamp=_echo(fields.get("timestamp")),
        ping_id=_echo(fields.get("_pingId")),
        request_id=request_id,
    )


def _echo(value: object) -> str | int | float | None:
    if isinstance(value, str):
        return value if len(value) <= _MAX_ECHO_CHARS else None
    return value if type(value) in (int, float) else None  # type: ignore[return-value]


_PARSERS: Mapping[str, Callable[[_Fields, RequestId], Request | _Listed]] = {
    "authenticate": _authenticate,
    "auth": _authenticate,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "unsubscribe_all": lambda _, rid: UnsubscribeAll(request_id=rid),
    "subscribe_orders": lambda _, rid: SwitchOrders(
        action="subscribe_orders", enabled=True, request_id=rid
    ),
    "unsubscribe_orders": lambda _, rid: SwitchOrders(
        action="unsubscribe_orders", enabled=False, request_id=rid
    ),
    "subscribe_status": lambda _, rid: SwitchStatus(
        action="subscribe_status", enabled=True, request_id=rid
    ),
    "unsubscribe_status": lambda _, rid: SwitchStatus(
        action="unsubscribe_status", enabled=False, request_id=rid
    ),
    "subscribe_pool_status": _watch_pools,
    "unsubscribe_pool_status": lambda _, rid: WatchPools(
        action="unsubscribe_pool_status", enabled=False, request_id=rid
    ),
    "get_broker_info": lambda _, rid: GetBrokerInfo(request_id=rid),
    "get_supported_brokers": lambda _, rid: GetSupportedBrokers(request_id=rid),
    "list_subscriptions": lambda _, rid: ListSubscriptions(request_id=rid),
    "ping": _ping,
    "pong": lambda _, rid: Pong(request_id=rid),
}
