"""Bodies of answers: to memory or a file, bounded, and empty again for a retry."""

from __future__ import annotations

from typing import BinaryIO, Protocol

from brokers.exceptions import BrokerProtocolError

__all__ = ["Body", "FileBody", "MemoryBody"]


class Body(Protocol):
    """Takes the parts of one answer's body, decompressed."""

    def restart(self) -> None:
        """Forget what came of an attempt that failed."""

    def write(self, part: bytes) -> None:
        """Take the next part. Raises BrokerProtocolError when it becomes too much."""


class MemoryBody:
    """Keeps the body in memory.

    Args:
        max_bytes: the most that is taken.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts = bytearray()

    def restart(self) -> None:
        """Forget everything."""
        self._parts.clear()

    def write(self, part: bytes) -> None:
        """Take the next part. Raises BrokerProtocolError when it becomes too much."""
        self._parts += part
        if len(self._parts) > self._max_bytes:
            raise BrokerProtocolError(f"the answer is larger than {self._max_bytes:,} bytes")

    def value(self) -> bytes:
        """Return what was taken."""
        return bytes(self._parts)


class FileBody:
    """Writes the body to a file, from where the file stands; a retry cuts it off there again.

    Args:
        file: open for writing, and seekable.
        max_bytes: the most that is taken.
    """

    def __init__(self, *, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._start = file.tell()
        self._size = 0  # written since it began

    def restart(self) -> None:
        """Cut the file off where it began."""
        self._file.seek(self._start)
        self._file.truncate()
        self._size = 0

    def write(self, part: bytes) -> None:
        """Take the next part. Raises BrokerProtocolError when it becomes too much."""
        self._size += len(part)
        if self._size > self._max_bytes:
            raise BrokerProtocolError(f"the answer is larger than {self._max_bytes:,} bytes")
        self._file.write(part)
