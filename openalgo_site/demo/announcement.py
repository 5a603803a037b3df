"""The words of a demo when everything is up: a block for people, one line for programs."""

from __future__ import annotations

import msgspec

__all__ = ["Processes", "Ready", "announce"]


class Processes(msgspec.Struct, frozen=True):
    """Process ids; ``simulator`` is None where a real exchange is used."""

    worker: int
    gateway: list[int]
    simulator: int | None


class Ready(msgspec.Struct, frozen=True):
    """Where everything is, and how to get in."""

    url: str
    openalgo_url: str
    admin_url: str
    username: str
    password: str
    api_key: str
    instruments: int
    processes: Processes


def announce(ready: Ready, seconds: float) -> str:
    """Return the text to print; its last line is ``ready`` and the same facts as JSON."""
    block = f"""
  TickPool is up ({ready.instruments:,} instruments, {seconds:.1f} s)

    Market watch       {ready.url}
    Console            {ready.url}console/
    Status             {ready.url}status/
    Admin              {ready.admin_url}
    Log in as          {ready.username}
    Password           {ready.password}
    OpenAlgo clients   {ready.openalgo_url}
    API key            {ready.api_key}

  Ctrl-C stops it.
"""
    return f"{block}\nready {msgspec.json.encode(ready).decode()}"
