"""Whole numbers out of what a browser sent: an address that somebody edited is no failure of ours.

``str.isdigit`` is true of ``"²"``, and ``int`` takes no text of thousands of digits.
"""

from __future__ import annotations

__all__ = ["whole_number"]

_MOST_DIGITS = 18  # what fits into every column


def whole_number(text: str | None) -> int | None:
    """Return the number that ``text`` is, in ASCII digits; None for anything else."""
    if text and text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    return None
