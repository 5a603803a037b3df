"""Whatever a page of the documentation leads to is there, and no page is too long to be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MOST_LINES = 400


def anchors(text: str) -> set[str]:
    """Return what a link to a heading is called."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def dead_links(text: str, folder: Path) -> list[str]:
    """Return the links of a page in ``folder`` to files or headings that are not there."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        file = folder / name
        if (name and not file.exists()) or (
            anchor and anchor not in anchors(file.read_text() if name else text)
        ):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_it_leads_to_is_there(page: Path) -> None:
    assert dead_links(page.read_text(), page.parent) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_it_is_of_one_subject(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= MOST_LINES


def test_a_link_to_nowhere_would_be_seen() -> None:
    text = "# It's `x`\n[a](#its-x) [b](#y) [c](none.md) [d](README.md#no-such) [e](https://x.y/#z)"
    assert dead_links(text, ROOT) == ["#y", "none.md", "README.md#no-such"]
    assert {"README.md", "SECURITY.md", "operations.md"} <= {page.name for page in PAGES}
