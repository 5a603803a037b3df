"""The demo's own secrets and marks: random per installation, in a file only the owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from openalgo_site.config.demo_names import USERNAME

__all__ = ["DemoFileError", "DemoSecrets", "MasterMark", "read_or_create", "write"]


class DemoFileError(Exception):
    """The file cannot be used; the message says what to do."""


class MasterMark(msgspec.Struct, frozen=True):
    """Which instruments master was stored last: its SHA-256 and how many rows it gave."""

    digest: str
    count: int


class DemoSecrets(msgspec.Struct, frozen=True):
    """What one demo installation keeps. Its repr shows no secret."""

    username: str
    password: str
    api_key: str
    simulator_api_key: str
    simulator_access_token: str
    masters: dict[str, MasterMark] = {}

    def __repr__(self) -> str:
        return f"<DemoSecrets of {self.username}>"


def new_secrets() -> DemoSecrets:
    """Return fresh random secrets."""
    return DemoSecrets(
        username=USERNAME,
        password=secrets.token_urlsafe(12),
        api_key=secrets.token_hex(32),
        simulator_api_key=secrets.token_hex(8),
        simulator_access_token=secrets.token_hex(16),
    )


def read_or_create(path: Path) -> DemoSecrets:
    """Return what ``path`` holds; create it at the first run.

    Raises:
        DemoFileError: the file is damaged.
        OSError: it cannot be read or written.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        created = new_secrets()
        write(path, created)
        return created
    try:
        return msgspec.json.decode(data, type=DemoSecrets)
    except msgspec.MsgspecError:
        raise DemoFileError(
            f"{path} is damaged: remove it, and the demo makes a new password and key"
        ) from None


def write(path: Path, content: DemoSecrets) -> None:
    """Replace ``path`` as a whole, with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    draft.replace(path)
