"""Parse Dhan frames with its own client; no network.

Stdin: ``{"feed": [hex, ...], "20": [...], "200": [...]}``. Prints, for each frame, what the client
made of it and what it printed; of a deep book a list with each side.
"""

import contextlib
import functools
import io
import json
import sys

from dhanhq import DhanContext
from dhanhq.fulldepth import FullDepth
from dhanhq.marketfeed import MarketFeed

given = json.load(sys.stdin)
context = DhanContext("1", "T")


def sides(client, frame):
    found = []
    while frame:
        side = client.process_data(frame)
        if not side:
            break
        frame = side.pop("remaining_data")
        found.append(side)
    return found


def report(read, frames):
    told = []
    for text in frames:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = read(bytes.fromhex(text))
        told.append({"value": value, "printed": printed.getvalue().strip()})
    return told


result = {"feed": report(MarketFeed(context, []).process_data, given["feed"])}
for levels in (20, 200):
    client = FullDepth(context, [], levels)
    result[str(levels)] = report(functools.partial(sides, client), given[str(levels)])
json.dump(result, sys.stdout)
