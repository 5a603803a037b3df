"""The folder in which processes of one installation on one machine meet: socket files of its user.

Whoever reaches a socket file in here is of the installation's own user, and so is whoever made it:
the kernel looks at the folder's owner and mode on every connection. A port is anybody's who is
quick. Files work across containers that share the folder, and need no key and no encryption.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

from streaming.exceptions import BusFolderError

__all__ = ["SETTING", "SocketFiles"]

SETTING = "ZMQ_SOCKET_DIR"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# An address has room for 108 bytes on Linux and 104 on others, the last of them zero.
_MAX_PATH_BYTES = 103
_BY_DESCRIPTOR = "/proc/self/fd"
_HELD = (errno.EWOULDBLOCK, errno.EACCES)


class SocketFiles:
    """The socket files below one folder. Every method may be called from any thread.

    Args:
        folder: of the installation's user alone; made by the first ``prepare``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Of the folder, where its path is too long for an address; then it is reached by this.
        self._descriptor: int | None = None

    def __repr__(self) -> str:
        return f"<SocketFiles {self.folder}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SocketFiles) and other.folder == self.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def __del__(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)

    def prepare(self) -> None:
        """Make the folder, or close an own one to others. Idempotent.

        Raises:
            BusFolderError: it cannot be made or closed, or is another user's.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.folder.stat()
            if found.st_uid == os.geteuid() and found.st_mode & _OTHERS:
                self.folder.chmod(0o700)
        except OSError as error:
            raise BusFolderError(
                f"the bus's folder {self.folder} cannot be made ({error.strerror}): {_mends()}"
            ) from None
        self.check()

    def check(self) -> None:
        """Refuse a folder that anybody else could have put a socket into.

        Raises:
            BusFolderError: it is another user's, or others may look into it.
            FileNotFoundError: it is not there: no worker has been here yet.
        """
        found = self.folder.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise BusFolderError(f"{self.folder} is no folder: {_mends()}")
        ours = {os.geteuid()}
        if os.geteuid() == 0:  # who may look at everybody's installation
            ours.add(self.folder.parent.stat().st_uid)
        if found.st_uid not in ours or self.folder.lstat().st_uid not in {0, *ours}:
            raise BusFolderError(f"the bus's folder {self.folder} is another user's: {_mends()}")
        if found.st_mode & _OTHERS:
            raise BusFolderError(
                f"the bus's folder {self.folder} is open to others on this machine: run "
                f"`chmod 700 {self.folder}`; where that changes nothing, {_mends()}"
            )

    def path(self, name: str) -> str:
        """Return a path of the file that fits into a socket's address, however deep the folder is.

        Raises:
            BusFolderError: it does not fit, and the system has no way around that.
            OSError: the folder is not there.
        """
        plain = os.path.join(self.folder, name)
        if len(os.fsencode(plain)) <= _MAX_PATH_BYTES:
            return plain
        if not os.path.isdir(_BY_DESCRIPTOR):
            raise BusFolderError(
                f"the path of the bus's folder {self.folder} is too long for a socket: {_mends()}"
            )
        return f"{_BY_DESCRIPTOR}/{self._open_folder()}/{name}"

    def _open_folder(self) -> int:
        """Return a descriptor of the folder that is there now; its number stays."""
        opened = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._descriptor is None:
            self._descriptor = opened
        else:
            os.dup2(opened, self._descriptor, inheritable=False)
            os.close(opened)
        return self._descriptor

    def lock(self, name: str) -> int | None:
        """Take a file for this process until the descriptor is closed; None: another one has it.

        The kernel gives it back when a process ends, however that ends.

        Raises:
            OSError: the file cannot be made.
        """
        descriptor = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                os.close(descriptor)
                return None
            # Some file systems have no locks; whether somebody answers is looked at in any case.
        return descriptor

    def answers(self, name: str) -> bool:
        """Tell whether somebody listens on the socket file."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(1.0)
                probe.connect(self.path(name))
        except TimeoutError:
            return True  # its queue is full: it is there and held up
        except (OSError, BusFolderError):
            return False
        return True

    def sweep(self, prefix: str) -> None:
        """Delete the files whose names begin so; the caller holds the lock of what uses them."""
        for path in self.folder.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                path.unlink()


def _mends() -> str:
    return f"set {SETTING} to a folder of your own on a local file system"
