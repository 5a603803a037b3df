"""What a client's process tells of the ticks that it got. Nothing but the standard library.

Also used in the interpreters of other people's clients, which have none of this project.
"""

import json
import sys
import threading
import time

WRAP_SECONDS = 4096

_writing = threading.Lock()


def say(kind, **fields):
    """Print one JSON line for the run; any thread."""
    line = json.dumps({"kind": kind, "at": round(time.time(), 3), **fields})
    with _writing:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class Tally:
    """Ticks of one client, summed up by name and by what their prices say; any thread."""

    def __init__(self, client):
        self.client = client
        self.lock = threading.Lock()
        self.seen = {}

    def tick(self, exchange, symbol, price):
        """Take in one tick; its price is a stamp in hundredths."""
        now = time.time()
        value = round(price * 100)
        number, index, second = value >> 26, value >> 12 & 16383, value & 4095
        age = (now - second) % WRAP_SECONDS
        key = (exchange, symbol, number, index)
        with self.lock:
            known = self.seen.get(key)
            if known is None:
                self.seen[key] = [1, age, now, now]
            else:
                known[0] += 1
                known[3] = now
                if age > known[1]:
                    known[1], known[2] = age, now

    def flush(self):
        """Say what came since the last time: for each name and stamp how many, the greatest age,
        when that one came, and when the last one came."""
        with self.lock:
            seen, self.seen = self.seen, {}
        if seen:
            rows = [[*key, *(round(each, 3) for each in row)] for key, row in seen.items()]
            say("ticks", client=self.client, seen=rows)
