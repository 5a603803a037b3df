"""Subscriptions of one Binance connection, and the answers to its requests. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from typing import Any, NamedTuple

import msgspec

__all__ = ["MAX_STREAMS", "Answer", "Pings", "RequestRate", "StreamSession"]

MAX_STREAMS = 1024


class _Request(msgspec.Struct):
    method: str
    params: list[Any] = []
    id: int | str | None = None


_DECODER = msgspec.json.Decoder(_Request)
_MAX_ID_LENGTH = 36


class _RefusedError(Exception):
    """A request that Binance answers with an error: code and message of its documentation."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Answer(NamedTuple):
    """The reply to send, and what the request did."""

    reply: bytes
    subscribed: bool = False
    malformed: int = 0
    duplicates: int = 0
    unknown: int = 0
    not_subscribed: int = 0
    over_limit: int = 0


class StreamSession:
    """Subscriptions of one connection.

    ``known`` are the streams that the capture has; others may be subscribed and stay empty.

    Args:
        streams: those of the connection's URL.
        combined: whether payloads travel inside ``{"stream":...,"data":...}``.
    """

    def __init__(
        self,
        *,
        known: Container[str],
        streams: Iterable[str] = (),
        combined: bool,
        limit: int = MAX_STREAMS,
    ) -> None:
        self._known = known
        self._limit = limit
        self._streams = dict.fromkeys(streams)
        if len(self._streams) > limit:
            raise ValueError(f"at most {limit} streams, got {len(self._streams)}")
        self.combined = combined

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, stream: str) -> bool:
        return stream in self._streams

    def unknown(self) -> int:
        """Return how many subscribed streams are not known."""
        return sum(stream not in self._known for stream in self._streams)

    def handle(self, message: str | bytes) -> Answer:
        """Carry out one request and return its answer; never raises for what a client sent."""
        try:
            request = _DECODER.decode(message)
        except msgspec.ValidationError as error:
            return _error(2, f"Invalid request: {error}")
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return _error(3, "Invalid JSON: expected value at line 1 column 1")
        id = request.id
        is_bad_text = isinstance(id, str) and not (id.isalnum() and len(id) <= _MAX_ID_LENGTH)
        if is_bad_text or (isinstance(id, int) and not -(2**63) <= id < 2**63):
            return _error(2, "Invalid request: request ID must be an integer or short text")
        try:
            return self._carry_out(request)
        except _RefusedError as refusal:
            return _error(refusal.code, str(refusal), id)

    def _carry_out(self, request: _Request) -> Answer:
        match request.method:
            case "SUBSCRIBE":
                return self._subscribe(_stream_names(request), request.id)
            case "UNSUBSCRIBE":
                return self._unsubscribe(_stream_names(request), request.id)
            case "LIST_SUBSCRIPTIONS":
                return Answer(_result(list(self._streams), request.id))
            case "SET_PROPERTY":
                self._check_property(request.params, 2)
                if not isinstance(request.params[1], bool):
                    raise _RefusedError(1, "Invalid value type: expected Boolean")
                self.combined = request.params[1]
                return Answer(_result(None, request.id))
            case "GET_PROPERTY":
                self._check_property(request.params, 1)
                return Answer(_result(self.combined, request.id))
        raise _RefusedError(2, "Invalid request: unknown variant of method")

    def _subscribe(self, names: list[str], id: int | str | None) -> Answer:
        added = [name for name in dict.fromkeys(names) if name not in self._streams]
        if len(self._streams) + len(added) > self._limit:
            # The one error that is not flat: so it was seen, and it is not in the documentation.
            error = {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": id}
            return Answer(msgspec.json.encode(error), over_limit=len(added))
        self._streams.update(dict.fromkeys(added))
        return Answer(
            _result(None, id),
            subscribed=bool(added),
            duplicates=len(names) - len(added),
            unknown=sum(name not in self._known for name in added),
        )

    def _unsubscribe(self, names: list[str], id: int | str | None) -> Answer:
        strangers = sum(name not in self._streams for name in names)
        for name in names:
            self._streams.pop(name, None)
        return Answer(_result(None, id), not_subscribed=strangers)

    @staticmethod
    def _check_property(params: list[Any], count: int) -> None:
        if len(params) != count:
            raise _RefusedError(2, f"Invalid request: expected {count} parameter(s)")
        if params[0] != "combined":
            raise _RefusedError(0, "Unknown property")


class RequestRate:
    """At most ``limit`` messages in any second; pings and pongs count."""

    def __init__(self, *, limit: int = 5) -> None:
        # When the latest messages came; as many as are allowed within the time.
        self._heard: deque[float] = deque(maxlen=limit)

    def allows(self, now: float) -> bool:
        """Count one message at ``now``, in monotonic seconds; whether it was within the limit."""
        is_over = len(self._heard) == self._heard.maxlen and now - self._heard[0] < 1.0
        self._heard.append(now)
        return not is_over


class Pings:
    """Pings of one client, and whether it answers them. A pong counts if it copies one."""

    def __init__(self, *, interval_seconds: float, timeout_seconds: float, now: float) -> None:
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        # When the next ping is due.
        self._next = now + interval_seconds
        # When each ping without an answer was sent, by its payload.
        self._unanswered: dict[bytes, float] = {}

    def is_due(self, now: float) -> bool:
        return now >= self._next

    def sent(self, payload: bytes, now: float) -> None:
        self._next = now + self._interval_seconds
        self._unanswered.setdefault(payload, now)

    def answered(self, payload: bytes) -> None:
        """Take a pong: it answers its ping and all before it; an unknown payload answers none."""
        if payload in self._unanswered:
            sent = self._unanswered[payload]
            self._unanswered = {key: at for key, at in self._unanswered.items() if at > sent}

    def is_overdue(self, now: float) -> bool:
        """Tell whether a ping has waited too long for its pong."""
        return any(now - sent > self._timeout_seconds for sent in self._unanswered.values())


def _stream_names(request: _Request) -> list[str]:
    names = [name for name in request.params if isinstance(name, str) and name]
    if not names or len(names) != len(request.params):
        raise _RefusedError(2, "Invalid request: params must be stream names")
    return names


def _result(value: object, id: int | str | None) -> bytes:
    return msgspec.json.encode({"result": value, "id": id})


def _error(code: int, message: str, id: int | str | None = None) -> Answer:
    body: dict[str, object] = {"code": code, "msg": message}
    if id is not None:
        body["id"] = id
    return Answer(msgspec.json.encode(body), malformed=1)
