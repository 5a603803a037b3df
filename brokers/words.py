"""Small words of sentences, wherever one is told: counts with their nouns, what others' errors say.

Pure.
"""

from __future__ import annotations

__all__ = ["counted", "named_error", "one_line", "verb"]

MOST_CHARACTERS = 500


def one_line(error: object, most: int = MOST_CHARACTERS) -> str:
    """Return what an error of somebody else's says as one line of at most ``most`` characters.

    A database's takes several, with which one line of a log would be several, and a reader that
    counts or colours lines would take the rest for another's.
    """
    return " ".join(str(error).split())[:most]


def named_error(error: BaseException, otherwise: str = "") -> str:
    """Return an error's class and what it says, in one line: ``OperationalError: no way``.

    Args:
        error: of a library, whose class says as much as its words.
        otherwise: what is said of one that says nothing.
    """
    words = one_line(error) or otherwise
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def counted(number: int, noun: str, *, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 symbol``, ``8,900 symbols``, ``2 processes``.

    Args:
        plural: of a noun that takes more than an ``s``.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def verb(number: int, one: str, many: str) -> str:
    """Return the verb that goes with a count: ``moves`` of one, ``move`` of none and of several."""
    return one if number == 1 else many
