"""Recorded Binance traffic: reading a capture file. Pure.

First line: the combined-stream URL, `` <-> `` and the time. Each further line:
``<unix seconds>: <raw frame>``, the frame being ``{"stream":"<name>","data":<payload>}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

__all__ = ["Capture", "CaptureError", "CaptureFrame", "parse_capture"]


class CaptureError(ValueError):
    """A capture file is not in the expected form; the message names the line."""


class CaptureFrame(NamedTuple):
    """One recorded frame: seconds since the first, stream, bytes, and its payload's bytes."""

    at_seconds: float
    stream: str
    message: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Capture:
    """A recording: the streams that its URL asked for, and its frames in order."""

    streams: tuple[str, ...]
    frames: tuple[CaptureFrame, ...]


class _Envelope(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def parse_capture(content: bytes) -> Capture:
    """Read a capture. Frames recorded out of order are played in the order of the file, not before.

    Raises:
        CaptureError: no frames, or a line that is not as above.
    """
    first, *lines = content.split(b"\n")
    url = first.split(b" ", 1)[0].decode("ascii", "replace")
    named = parse_qs(urlsplit(url).query).get("streams", [""])[0]
    frames: list[CaptureFrame] = []
    started: float | None = None
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        stamp, separator, message = line.rstrip(b"\r").partition(b": ")
        try:
            if not separator:
                raise ValueError("no time before the frame")
            seconds = float(stamp)
            envelope = _ENVELOPE.decode(message)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            raise CaptureError(f"line {number} of the capture: {error}") from None
        started = seconds if started is None else started
        at_seconds = max(seconds - started, frames[-1].at_seconds if frames else 0.0)
        frames.append(CaptureFrame(at_seconds, envelope.stream, message, bytes(envelope.data)))
    if not frames:
        raise CaptureError("the capture holds no frames")
    streams = tuple(name for name in named.split("/") if name)
    return Capture(streams or tuple(dict.fromkeys(frame.stream for frame in frames)), tuple(frames))
