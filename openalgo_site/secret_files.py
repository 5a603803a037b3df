"""Random secrets that belong to one installation, kept in files that only the owner can read."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["read_or_create_secret"]


def read_or_create_secret(path: Path, new_value: str) -> str:
    """Return what ``path`` holds; when there is no such file, create it with ``new_value``.

    The file appears whole and with mode 0600, so several processes may start at once: one of their
    values wins and all return it.

    Raises:
        OSError: the directory cannot be made or written.
    """
    try:
        return path.read_text().strip()
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
    return path.read_text().strip()
