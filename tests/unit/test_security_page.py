"""``SECURITY.md`` names limits and settings that exist, and leads to what is there."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from openalgo_site.env import Environment
from streaming.limits import EdgeLimits

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
LINKS = re.findall(r"\]\(([^)]+)\)", PAGE)


def anchors(text: str) -> set[str]:
    """Return what a link to a heading is called."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def unknown_names(text: str) -> set[str]:
    """Return settings and limits of a table that neither the environment nor the edge has."""
    known = {each.encode_name for kind in (Environment, EdgeLimits)
             for each in msgspec.structs.fields(kind)}  # fmt: skip
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    return set(re.findall(r"`(\w+_\w+)`", rows)) - known


@pytest.mark.parametrize("link", LINKS)
def test_what_it_leads_to_is_there(link: str) -> None:
    file, _, anchor = link.partition("#")
    text = (ROOT / file).read_text() if file else PAGE
    assert not anchor or anchor in anchors(text)


def test_its_settings_and_limits_exist() -> None:
    assert LINKS
    assert unknown_names(PAGE) == set()


def test_a_setting_that_is_gone_would_be_seen() -> None:
    assert unknown_names("| all | `no_such_limit`, `DATA_DIR` |") == {"no_such_limit"}
    assert anchors("## Behind a proxy\n### It's `x`\n") == {"behind-a-proxy", "its-x"}
