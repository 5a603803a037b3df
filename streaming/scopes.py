"""The rights of an API key, beside whose it is. Pure."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

__all__ = ["EVERYTHING", "READING", "Scope", "refusal", "scope_text"]


class Scope(StrEnum):
    """One thing that a key may do, for its owner and no further than its owner may."""

    READ_TICKS = "read_ticks"
    READ_STATUS = "read_status"
    SET_CREDENTIALS = "set_credentials"


EVERYTHING = frozenset(Scope)
READING = frozenset({Scope.READ_TICKS, Scope.READ_STATUS})
_WORDS = {
    Scope.READ_TICKS: "read ticks",
    Scope.READ_STATUS: "read status",
    Scope.SET_CREDENTIALS: "set credentials",
}


def scope_text(scope: Collection[Scope]) -> str:
    """Return what a key may do, for people."""
    return ", ".join(_WORDS[each] for each in Scope if each in scope) or "nothing"


def refusal(needed: Scope, scope: Collection[Scope]) -> str:
    """Return the sentence for a key that may not do what it was used for."""
    return (
        f"This API key may {scope_text(scope)}, not {_WORDS[needed]}: use one that may "
        "(made in the admin, or with createapikey --scope)."
    )
