"""Files of an installation, for its own user only: from the first write, and those of before.

They hold keys, sessions and whose accounts are where. Whatever this process writes is private by
its mask; SQLite gives the files beside a database the database's own mode.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

__all__ = [
    "BUS_FOLDER",
    "OTHERS",
    "begin_private",
    "is_ours",
    "open_to_others",
    "trusted_owners",
    "usual_mode",
    "why_not_ours",
]

OTHERS = stat.S_IRWXG | stat.S_IRWXO
MASK = 0o077
PUBLIC = "credentials.pub"  # for everybody to read, and for nobody else to write
BUS_FOLDER = "bus"  # of the socket files by which processes of one installation meet
# Names below DATA_DIR that no part of TickPool but its own has given.
OURS = (
    "tickpool.sqlite3*",
    "login-attempts.sqlite3*",
    "*.key",
    ".*.key.*",
    PUBLIC,
    "demo.json",
    ".demo.json.*",
    "demo-ports.json",
    "proxies-seen.*",
    "static",
    BUS_FOLDER,
)


def is_ours(name: str) -> bool:
    """Whether TickPool itself writes a file or folder of this name into ``DATA_DIR``."""
    return any(fnmatch(name, pattern) for pattern in OURS)


def _is_key(name: str) -> bool:
    return name.endswith(".key") or name == PUBLIC


def _kept_from_others(name: str) -> int:
    """Return the bits of a mode that others must not have on a file of this name."""
    return stat.S_IWGRP | stat.S_IWOTH if name == PUBLIC else OTHERS


def begin_private(folder: Path) -> None:
    """Let this process write for its own user only, and make or tighten ``folder``.

    Files of ours in it lose what others may do. The folder itself does, too, where it holds nothing
    else: one that is shared with something of the user's keeps its mode, and the doctor tells. A
    key that others could read may be known to them by now, and a public half that they could write
    may be another one: it keeps its mode, so that whoever needs it refuses it and says what to do.

    Raises:
        OSError: the folder cannot be made.
    """
    os.umask(MASK)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # whatever stays open is told by the doctor
        entries = list(folder.iterdir())
        for path in entries:
            if is_ours(path.name) and not _is_key(path.name) and path.is_file():
                _tighten(path)
        if all(is_ours(path.name) for path in entries) and not folder.stat().st_mode & stat.S_ISVTX:
            _tighten(folder)


def trusted_owners() -> frozenset[int] | None:
    """Return whose files this process may take for its own; None: anybody's.

    Root's own they may be, and root itself may look at everybody's installation.
    """
    own = os.geteuid()
    return None if own == 0 else frozenset({0, own})


def why_not_ours(folder: Path, owners: Collection[int] | None) -> str | None:
    """Return how another account could have put a key or a database of its own there; None: not.

    A folder in a place where anybody may make one is theirs who are first, and then so is what is
    read from it as a secret. Asked behind ``begin_private``, before anything is read. Folders above
    it are not looked at: a container's volume is often open to all who are in there.

    Args:
        folder: ``DATA_DIR``.
        owners: see ``trusted_owners``.

    Raises:
        OSError: the folder cannot be looked at.
    """
    where, begin = folder.resolve(), "set DATA_DIR to a folder of your own"
    ours = [folder, where, *(path for path in where.iterdir() if is_ours(path.name))]
    for path in ours:
        try:
            owner = path.lstat().st_uid
        except FileNotFoundError:  # files beside a database come and go
            continue
        if owners is not None and owner not in owners:
            chown = f"chown -h {os.geteuid()} {path}"  # of a link itself, not of where it leads
            if not path.is_symlink():
                chown = f"chown -R {os.geteuid()} {where}"
            return (
                f"{path} belongs to another account of this machine (user id {owner}), which could "
                f"read and change what is in it: {begin}, or have root run `{chown}` if it is yours"
            )
    mode = where.stat().st_mode
    if mode & stat.S_IWOTH:
        # One as /tmp is everybody's by intention.
        mends = begin if mode & stat.S_ISVTX else f"run `chmod 700 {where}`, or {begin}"
        return f"anybody on this machine may write into {where}, beside keys and database: {mends}"
    return None


def open_to_others(folder: Path, elsewhere: Iterable[Path] = ()) -> Iterator[tuple[Path, int]]:
    """Yield with its mode what others on this machine may read or write.

    Args:
        folder: ``DATA_DIR``.
        elsewhere: further files and folders of the installation; those that are not there are
            passed over.
    """
    files = sorted(path for path in folder.iterdir() if is_ours(path.name) and path.is_file())
    for path in (folder, *files, *elsewhere):
        with contextlib.suppress(FileNotFoundError):  # files beside a database come and go
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _kept_from_others(path.name):
                yield path, mode


def usual_mode(folder: Path, path: Path) -> int:
    """Return the mode that ``path`` should have, of a folder of ours or of a file."""
    if path == folder or path.is_dir():
        return 0o700
    return 0o644 if path.name == PUBLIC else 0o600


def _tighten(path: Path) -> None:
    with contextlib.suppress(OSError):  # it is gone, or somebody else's
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & OTHERS and not path.is_symlink():
            path.chmod(mode & ~OTHERS)
