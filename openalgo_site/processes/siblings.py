"""The metrics of all processes behind one port, by a local socket for each.

A scrape reaches any one of them. It asks the others, so that the answer is the same whoever gives
it. The folder of the sockets belongs to the parent and to its user only.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

__all__ = ["Siblings"]

ASK_SECONDS = 1.0


class Siblings:
    """One process among those of a gateway. Bound to the event loop of ``open``.

    Args:
        folder: where the sockets are; None for a process that is alone.
        number: of this process; a successor takes over its predecessor's.
    """

    def __init__(self, *, folder: Path | None = None, number: int = 1) -> None:
        self.number = number
        self._folder = folder
        self._listener: socket.socket | None = None
        self._exposition: Callable[[], bytes] = bytes

    @classmethod
    def from_text(cls, text: str) -> Siblings:
        """Return the place that the parent has given out as ``FOLDER:NUMBER``; "" is alone."""
        folder, _, number = text.rpartition(":")
        return cls(folder=Path(folder), number=int(number)) if text else cls()

    def open(self, exposition: Callable[[], bytes]) -> None:
        """Answer the siblings with what ``exposition`` returns, in a few kilobytes."""
        if self._folder is None:
            return
        path = self._folder / f"{self.number}.sock"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(16)
        listener.setblocking(False)
        self._listener = listener
        self._exposition = exposition
        asyncio.get_running_loop().add_reader(listener.fileno(), self._answer)

    def close(self) -> None:
        """Answer no longer. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is not None:
            asyncio.get_running_loop().remove_reader(listener.fileno())
            listener.close()

    async def ask(self) -> list[bytes]:
        """Return the expositions of all others that answer within a second."""
        if self._folder is None:
            return []
        own = f"{self.number}.sock"
        paths = sorted(path for path in self._folder.glob("*.sock") if path.name != own)
        answers = await asyncio.gather(*map(_read, paths))
        return [answer for answer in answers if answer]

    def _answer(self) -> None:
        if self._listener is None:
            return
        # A sibling that is gone again is no failure; what it cannot take at once it does without.
        with contextlib.suppress(OSError):
            peer, _ = self._listener.accept()
            with peer:
                peer.setblocking(False)
                peer.sendall(self._exposition())


async def _read(path: Path) -> bytes:
    try:
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                return await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
