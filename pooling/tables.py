"""Tables and figures for a terminal. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

__all__ = ["age", "bar", "cut", "pairs", "table"]

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()
) -> str:
    """Return rows below a header in aligned columns, two spaces apart; ``right`` are flush right.

    Args:
        header: one title a column.
        rows: one text a column; control characters are left out.
        right: indexes of the columns with numbers.
    """
    lines = [list(header), *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            _padded(cell, width, to_the_right=index in right)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def pairs(items: Sequence[tuple[str, str]]) -> str:
    """Return ``name  value`` lines with the values in one column."""
    width = max((_width(name) for name, _ in items), default=0)
    return "\n".join(
        f"{_padded(name, width, to_the_right=False)}  {_printable(value)}".rstrip()
        for name, value in items
    )


def age(seconds: float | None) -> str:
    """Return a time span as people say it: ``0.4 s``, ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} d"


def bar(used: float, capacity: float, width: int = 10) -> str:
    """Return how full something is, in ASCII: ``[####------]``; more than full shows as ``!``."""
    if capacity <= 0:
        return f"[{'-' * width}]"
    filled = min(width, round(width * used / capacity))
    if used > 0 and filled == 0:
        filled = 1
    mark = "!" if used > capacity else "#"
    return f"[{mark * filled}{'-' * (width - filled)}]"


def cut(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns, its end replaced by ``…`` where it is cut."""
    text = _printable(text)
    if _width(text) <= width:
        return text
    kept, used = [], 0
    for sign in text:
        used += _width(sign)
        if used > width - 1:
            break
        kept.append(sign)
    return "".join(kept) + ("…" if width > 0 else "")


def _padded(text: str, width: int, *, to_the_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if to_the_right else text + space


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )


def _printable(text: str) -> str:
    """A name or a broker's words may carry escape sequences that would command the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
