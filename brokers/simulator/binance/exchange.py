"""The local exchange as Binance spot: it plays a recorded capture to whoever subscribes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

import msgspec
from websockets.frames import Opcode
from websockets.http11 import Response

from brokers.simulator.binance.capture import Capture
from brokers.simulator.binance.master import exchange_info
from brokers.simulator.binance.session import MAX_STREAMS, Pings, RequestRate, StreamSession
from brokers.simulator.exchange import LocalExchange, Upgrade
from brokers.simulator.link import Link
from brokers.simulator.responses import json_response

__all__ = ["BinanceReplay"]

MAX_FRAMES_PER_TURN = 1_000
SETTLE_SECONDS = 0.5
PING_INTERVAL_SECONDS = 20.0
PONG_TIMEOUT_SECONDS = 60.0


@dataclass(slots=True, kw_only=True)
class _Play:
    """One connection and how far its playing has come. Times are the loop's."""

    session: StreamSession
    rate: RequestRate
    pings: Pings
    subscribed_at: float
    started_at: float | None = None
    position: int = 0


class BinanceReplay(LocalExchange):
    """Binance's market streams, out of a capture.

    Each connection gets the frames of the streams that it has subscribed, each once, in order, with
    their recorded bytes. Its playing starts when it has subscribed something and then nothing more
    for ``settle_seconds``, so that subscriptions sent in batches miss nothing. A stream subscribed
    later joins where the playing is. At the end the connection stays open, with pings only.

    Args:
        speed: so many times as fast as recorded; 0 is as fast as the client reads.
        loop: start again at the end.
    """

    def __init__(
        self,
        *,
        capture: Capture,
        speed: float = 1.0,
        loop: bool = False,
        port: int = 0,
        control_token: str = "",
        settle_seconds: float = SETTLE_SECONDS,
        ping_interval_seconds: float = PING_INTERVAL_SECONDS,
        pong_timeout_seconds: float = PONG_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(port=port, control_token=control_token, clock=clock)
        if not speed >= 0:
            raise ValueError(f"speed must not be negative, got {speed}")
        self._capture = capture
        self._known = {*capture.streams, *(frame.stream for frame in capture.frames)}
        self._speed = speed
        self._loop = loop
        self._settle_seconds = settle_seconds
        self._ping_interval_seconds = ping_interval_seconds
        self._pong_timeout_seconds = pong_timeout_seconds
        # Of every open connection.
        self._plays: dict[Link, _Play] = {}

    # Verbs

    def send_shutdown(self) -> int:
        """Announce a shutdown to every connection, as Binance does; how many it reached."""
        event = msgspec.json.encode({"e": "serverShutdown", "E": int(self.clock() * 1000)})
        wrapped = b'{"stream":"!serverShutdown","data":' + event + b"}"
        return sum(
            self._push(link, wrapped if play.session.combined else event, text=True)
            for link, play in self._plays.items()
        )

    def send_malformed(self, frame: bytes = b'{"stream":"btcusdt@bookTicker","data":') -> int:
        """Send a text frame that is no JSON to every connection; how many it reached."""
        return sum(self._push(link, frame, text=True) for link in list(self._plays))

    # What the base asks for

    def _key(self, upgrade: Upgrade) -> str:
        return "anonymous"  # market data needs no key

    def _admit(self, upgrade: Upgrade) -> HTTPStatus | None:
        asked = _streams_asked(upgrade.path, upgrade.query)
        if asked is None:
            return HTTPStatus.NOT_FOUND
        return HTTPStatus.BAD_REQUEST if len(set(asked)) > MAX_STREAMS else None

    def _opened(self, link: Link, upgrade: Upgrade) -> None:
        streams = _streams_asked(upgrade.path, upgrade.query) or []
        now = link.loop.time()
        play = _Play(
            session=StreamSession(
                known=self._known, streams=streams, combined=upgrade.path.startswith("/stream")
            ),
            rate=RequestRate(),
            pings=Pings(
                interval_seconds=self._ping_interval_seconds,
                timeout_seconds=self._pong_timeout_seconds,
                now=now,
            ),
            subscribed_at=now,
        )
        self._plays[link] = play
        link.on_control = lambda opcode, payload: self._controlled(link, opcode, payload)
        counters = self._links[link]
        counters.duplicates += len(streams) - len(play.session)
        counters.unknown += play.session.unknown()
        counters.holds(len(play.session))

    def _heard(self, link: Link, message: str | bytes) -> None:
        if not self._is_within_rate(link):
            return
        play, counters = self._plays[link], self._links[link]
        answer = play.session.handle(message)
        if answer.subscribed:
            play.subscribed_at = link.loop.time()
        counters.malformed += answer.malformed
        counters.judged(answer, holds=len(play.session))
        self._push(link, answer.reply, text=True)

    def _turn(self, now: float) -> None:
        for link, play in list(self._plays.items()):
            if link.is_silent or not link.is_open:
                continue
            self._keep_alive(link, play, now)
            self._play(link, play, now)

    def _closed(self, link: Link) -> None:
        del self._plays[link]

    def _get(self, path: str, query: Mapping[str, str]) -> Response | None:
        if path == "/api/v3/exchangeInfo":
            return json_response(exchange_info(self._capture, now_ms=int(self.clock() * 1000)))
        return None

    # Inside

    def _controlled(self, link: Link, opcode: Opcode, payload: bytes) -> None:
        if link in self._plays and self._is_within_rate(link) and opcode is Opcode.PONG:
            self._plays[link].pings.answered(payload)

    def _is_within_rate(self, link: Link) -> bool:
        if self._plays[link].rate.allows(link.loop.time()):
            return True
        self._links[link].rate_exceeded += 1
        self._end(link, 1008, "Too many requests")
        return False

    def _keep_alive(self, link: Link, play: _Play, now: float) -> None:
        if play.pings.is_overdue(now):
            link.drop()
        elif play.pings.is_due(now):
            payload = str(int(self.clock() * 1000)).encode()
            play.pings.sent(payload, now)
            link.send_ping(payload)

    def _play(self, link: Link, play: _Play, now: float) -> None:
        if play.started_at is None:
            if not len(play.session) or now - play.subscribed_at < self._settle_seconds:
                return
            play.started_at = now
        frames, session = self._capture.frames, play.session
        for _ in range(MAX_FRAMES_PER_TURN):
            if play.position == len(frames):
                if not self._loop:
                    return
                play.position, play.started_at = 0, now
            frame = frames[play.position]
            is_early = self._speed and frame.at_seconds > (now - play.started_at) * self._speed
            if is_early or link.is_congested:
                return
            play.position += 1
            if frame.stream in session:
                data = frame.message if session.combined else frame.payload
                if self._push(link, data, text=True, ticks=1):
                    self._recorder.streamed(frame.stream)


def _streams_asked(path: str, query: Mapping[str, str]) -> list[str] | None:
    """Return the streams that a URL names, or None where its path is not one of Binance's."""
    if path.rstrip("/") == "/stream":
        names = query.get("streams", "")
    elif path.rstrip("/") == "/ws":
        names = ""
    elif path.startswith("/ws/"):
        names = unquote(path.removeprefix("/ws/"))
    else:
        return None
    return [name for name in names.split("/") if name]
