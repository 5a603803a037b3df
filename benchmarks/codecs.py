"""Ticks that one core decodes per second, beside the official client on the same bytes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.codec_frames import CODECS, BenchedCodec
from benchmarks.harness import ROOT, RUNS, SECONDS, Child, Result, cores, median, pin

__all__ = ["codecs"]

_SCRIPT = ROOT / "benchmarks" / "codec_oracle.py"
_ORACLES = ROOT / ".venv-oracles"


async def codecs() -> AsyncIterator[Result]:
    """One row per broker and packet kind; ``times_official`` is our rate over the client's."""
    for broker, codec in CODECS.items():
        worker = Child("benchmarks.codec_worker", cores()[0], [broker])
        try:
            await worker.start()
            for kind in codec.kinds:
                yield await _row(broker, codec, kind, worker)
        finally:
            await worker.stop()


async def _row(broker: str, codec: BenchedCodec, kind: str, worker: Child) -> Result:
    seconds = min(SECONDS, 1.0)
    ours = [await worker.ask(kind=kind, seconds=seconds) for _ in range(RUNS)]
    rate = median([run["ticks_per_s"] for run in ours])
    figures: dict[str, float | int | str] = {"ticks_per_s": rate, "us_per_tick": 1e6 / rate}
    title = f"{broker} {kind} frames decoded"
    python = _ORACLES / codec.oracle
    if not python.exists():
        mend = "the official client is missing: `make test` installs it"
        return Result(title, figures, correct=False, notes=mend, runs=RUNS)
    frames = [frame.hex() for frame in codec.frames(kind)]
    first = [frame.hex() for frame in codec.first_frames()]
    given = json.dumps({"first": first, "frames": frames, "seconds": seconds}).encode()
    theirs = [await asyncio.to_thread(_official, python, broker, given) for _ in range(RUNS)]
    official = median([run["ticks_per_s"] for run in theirs])
    figures |= {"official_ticks_per_s": official, "times_official": rate / official}
    return Result(
        title,
        figures,
        correct=all(run["ticks"] == ours[0]["ticks"] for run in theirs),
        notes=f"{ours[0]['ticks']} ticks in both",
        runs=RUNS,
    )


def _official(python: Path, broker: str, given: bytes) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:  # some clients write logs where they run
        run = subprocess.run(
            [str(python), str(_SCRIPT), broker],
            input=given,
            capture_output=True,
            cwd=folder,
            check=True,
            timeout=120,
            preexec_fn=lambda: pin(cores()[0]),
        )
    result: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return result
