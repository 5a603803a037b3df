"""Random secrets that belong to one installation, kept in files that only the owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from openalgo_site.config.private_files import OTHERS

__all__ = ["SecretFileError", "read_or_create_secret"]


class SecretFileError(OSError):
    """A secret that others could have read; the message says what to do."""


def read_or_create_secret(path: Path, new_value: str) -> str:
    """Return what ``path`` holds; when there is no such file, create it with ``new_value``.

    The file appears whole and with mode 0600, so several processes may start at once: one of their
    values wins and all return it.

    Raises:
        SecretFileError: others on this machine may read it, so they may know it by now.
        OSError: the directory cannot be made or written.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(new_value + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return _read(path)


def _read(path: Path) -> str:
    with path.open() as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & OTHERS:
            raise SecretFileError(
                f"{path} has mode {mode:04o}, so others may know it by now: remove it, and a new "
                f"one is made; or run `chmod 600 {path}` if nobody else has had access. Where the "
                "volume keeps no such mode (a pod's fsGroup, CIFS), set SECRET_KEY and METRICS_KEY"
            )
        return file.read().strip()
