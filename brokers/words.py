"""Small words of sentences, wherever one is told: counts with their nouns, what others' errors say.

Pure.
"""

from __future__ import annotations

__all__ = ["named_error", "one_line"]

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
