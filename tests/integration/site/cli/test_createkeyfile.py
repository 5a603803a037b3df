"""The two kinds of key file that an installation makes for itself."""

from __future__ import annotations

import stat
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from streaming.wire.keys import load_key_file


def test_a_bus_key_file_is_private_usable_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "bus.key"
    call_command("createkeyfile", bus=path, stdout=StringIO())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = load_key_file(path)
    assert keys is not None
    with pytest.raises(CommandError, match="cannot be written: File exists"):
        call_command("createkeyfile", bus=path, stdout=StringIO())
    assert load_key_file(path) == keys
