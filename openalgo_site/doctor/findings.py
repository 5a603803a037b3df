"""Findings of the doctor's checks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from brokers.words import named_error

__all__ = ["Check", "Finding", "Outcome", "failed", "fine", "skipped", "warned"]


class Outcome(StrEnum):
    """End of a check. Only ``FAILED`` makes the doctor's exit code 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``mends`` names a command or a setting wherever one helps."""

    check: str
    outcome: Outcome
    message: str
    mends: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: ``run`` yields its findings, or raises, which is a finding too.

    ``needs`` names checks without which this one has nothing to look at.
    """

    name: str
    run: Callable[[], Iterable[Finding]]
    needs: tuple[str, ...] = ()

    def findings(self) -> Iterator[Finding]:
        """Yield what the check finds; an unforeseen error is a failure, with its kind in words."""
        try:
            yield from self.run()
        except Exception as error:
            # Supervision point: one broken check must not hide what the others find.
            yield failed(self.name, f"the check itself failed: {named_error(error)}")


def fine(check: str, message: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check, Outcome.OK, message)


def warned(check: str, message: str, mends: str = "") -> Finding:
    """Return that something may become a problem."""
    return Finding(check, Outcome.WARNING, message, mends)


def failed(check: str, message: str, mends: str = "") -> Finding:
    """Return that something does not work."""
    return Finding(check, Outcome.FAILED, message, mends)


def skipped(check: str, message: str) -> Finding:
    """Return that nothing could be looked at, and why."""
    return Finding(check, Outcome.SKIPPED, message)
