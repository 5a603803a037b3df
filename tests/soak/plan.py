"""What a run does: how many clients of each kind, and which event when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Crowd", "Happening", "Planned", "crowd_of", "schedule", "steady_from"]


class Happening(StrEnum):
    """What is done to the system while clients hold on to it."""

    GATEWAY_STOPPED = "gateway stopped"
    GATEWAY_KILLED = "gateway killed"
    WORKER_STOPPED = "worker stopped"
    WORKER_KILLED = "worker killed"
    TOKEN_ENDED = "token ended"
    INSTRUMENTS_LOADED = "instruments loaded"
    LIMITS_EDITED = "limits edited"
    REDIS_RESTARTED = "redis restarted"
    POSTGRES_RESTARTED = "postgres restarted"
    NGINX_RELOADED = "nginx reloaded"
    LINK_DEAD = "link dead"
    ACCOUNT_OFF = "account off"


@dataclass(frozen=True, slots=True)
class Planned:
    """An event and when it is due, in seconds from the start."""

    at: float
    happening: Happening
    target: str = ""


# Processes are replaced in the first third only: what grows is measured in the other two, and a
# process that was just started grows.
_REPLACING = (
    Planned(0.10, Happening.GATEWAY_STOPPED, "gateway-1"),
    Planned(0.34, Happening.GATEWAY_KILLED, "gateway-2"),
    Planned(0.58, Happening.WORKER_STOPPED, "worker"),
    Planned(0.80, Happening.WORKER_KILLED, "worker"),
)
_OTHERS = (
    Happening.REDIS_RESTARTED,
    Happening.INSTRUMENTS_LOADED,
    Happening.TOKEN_ENDED,
    Happening.NGINX_RELOADED,
    Happening.POSTGRES_RESTARTED,
    Happening.LIMITS_EDITED,
    Happening.LINK_DEAD,
    Happening.ACCOUNT_OFF,
)
# Each kind of event at least once; in a longer run a round of them every so often.
_ROUND_SECONDS = 600.0
_SHARE_OF_EVENTS = 0.9  # of the last two thirds; the rest is for things to come to rest


def steady_from(seconds: float) -> float:
    """Return from when on no process is replaced."""
    return seconds / 3


def schedule(seconds: float) -> list[Planned]:
    """Return the events of a run, in their order; they are done one after the other.

    A minute's run and an hour's have all of them; the hour's has the later ones several times.
    """
    start = steady_from(seconds)
    planned = [Planned(each.at * start, each.happening, each.target) for each in _REPLACING]
    rest = (seconds - start) * _SHARE_OF_EVENTS
    rounds = max(1, int(rest // _ROUND_SECONDS))
    step = rest / (rounds * len(_OTHERS))
    planned += [
        Planned(start + (turn * len(_OTHERS) + place) * step, happening)
        for turn in range(rounds)
        for place, happening in enumerate(_OTHERS)
    ]
    return planned


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many clients of which kind, and what they do beside holding on.

    ``quiet``: of each of the first three kinds so many subscribe to nothing. ``changing``: of the
    batching clients so many change what they hold every second. ``comers_per_second``: more that
    come, subscribe and go.
    """

    sdk1: int
    sdk2: int
    batching: int
    pages: int
    quiet: int
    changing: int
    comers_per_second: float
    names: int

    @property
    def total(self) -> int:
        return self.sdk1 + self.sdk2 + self.batching + self.pages


def crowd_of(clients: int) -> Crowd:
    """Return a crowd of so many: three tenths each of the two SDKs, up to four pages.

    Raises:
        ValueError: fewer than ten.
    """
    if clients < 10:
        raise ValueError(f"clients must be at least 10, got {clients}")
    pages = min(4, max(1, clients // 25))
    sdk1 = sdk2 = clients * 3 // 10
    batching = clients - sdk1 - sdk2 - pages
    return Crowd(
        sdk1=sdk1,
        sdk2=sdk2,
        batching=batching,
        pages=pages,
        quiet=max(1, clients // 40),
        changing=max(1, clients // 20),
        comers_per_second=min(3.0, clients / 40),
        names=8,
    )
