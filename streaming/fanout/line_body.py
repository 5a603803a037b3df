"""A tick's object for one line: the mode and the name that the client asked for. Pure."""

from __future__ import annotations

import json

from streaming.ports.link import TickMessage
from streaming.protocol.held import Line
from streaming.wire.tick_json import derive
from streaming.wire.topics import parse_tick_topic

__all__ = ["line_body"]


def line_body(message: TickMessage, line: Line) -> bytes | None:
    """Return a tick's object for ``line``; None when the tick has nothing for its mode."""
    mode = line.mode
    if message.mode == mode:
        body = message.body
    elif message.mode < mode or (derived := derive(message.body, mode)) is None:
        return None
    else:
        body = derived
    if line.suffix:
        symbol = parse_tick_topic(message.topic).key.symbol
        old, new = json.dumps(symbol), json.dumps(symbol + line.suffix)
        body = body.replace(f'"symbol":{old}'.encode(), f'"symbol":{new}'.encode())
    return body
