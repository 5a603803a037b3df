"""``SECURITY.md`` names limits and settings that exist; where it leads is in ``test_links``."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from openalgo_site.config.env import Environment
from streaming.edge_limits import EdgeLimits

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()


def unknown_names(text: str) -> set[str]:
    """Return settings and limits of a table that neither the environment nor the edge has."""
    known = {each.encode_name for kind in (Environment, EdgeLimits)
             for each in msgspec.structs.fields(kind)}  # fmt: skip
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    return set(re.findall(r"`(\w+_\w+)`", rows)) - known


def test_its_settings_and_limits_exist() -> None:
    assert unknown_names(PAGE) == set()


def test_a_setting_that_is_gone_would_be_seen() -> None:
    assert unknown_names("| all | `no_such_limit`, `DATA_DIR` |") == {"no_such_limit"}
