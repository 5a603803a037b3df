"""How fast a codec of ours decodes: ticks per second of one core, in a process of its own."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.codec_frames import CODECS


def _main(broker: str) -> None:
    codec = CODECS[broker]
    for frame in codec.first_frames():
        codec.decode(frame)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        frames = codec.frames(given["kind"])
        decode = codec.decode
        count = sum(len(decode(frame)) for frame in frames)
        started = now = time.perf_counter()
        rounds = 0
        while now - started < given["seconds"]:
            for frame in frames:
                decode(frame)
            rounds += 1
            now = time.perf_counter()
        rate = rounds * count / (now - started)
        print(json.dumps({"ticks_per_s": rate, "ticks": count}), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
