"""Cuts a child's output into lines, whatever the pieces it arrives in."""

from __future__ import annotations

__all__ = ["LineSplitter"]


class LineSplitter:
    """Collects bytes and returns whole lines as text; a line longer than the limit is cut there."""

    def __init__(self, *, max_line_bytes: int = 16 * 1024) -> None:
        if max_line_bytes < 1:
            raise ValueError("max_line_bytes must be at least 1")
        self._max_line_bytes = max_line_bytes
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Take bytes and return the lines that they complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > self._max_line_bytes:
            lines.append(self._rest[: self._max_line_bytes])
            self._rest = self._rest[self._max_line_bytes :]
        return [_text(line) for line in lines]

    def end(self) -> list[str]:
        """Return what is left when there will be no more."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")
