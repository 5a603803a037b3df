"""The pages for whoever runs it name every setting, limit, command, option and code, no others.

Metrics are compared with a scrape in ``tests/integration/streaming/gateway/test_metrics.py``.
"""

from __future__ import annotations

import argparse
import re
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import get_commands, load_command_class

from openalgo_site.cli.base import Exit
from openalgo_site.config.env import Environment
from openalgo_site.management.commands.pool import SUBCOMMANDS
from streaming.edge_limits import EdgeLimits
from streaming.protocol.vocabulary import CloseCode

ROOT = Path(__file__).resolve().parents[4]
PAGES = ("operations.md", "access.md", "monitoring.md")
OPERATIONS = "\n".join((ROOT / "docs" / page).read_text() for page in PAGES)
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
OURS = ("pooling", "streaming", "openalgo_site")
# Django's own, on every command.
STANDARD = {
    "--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback",
    "--no-color", "--force-color", "--skip-checks",
}  # fmt: skip


def table(first: str, text: str = OPERATIONS) -> list[list[str]]:
    """Return the rows of the table whose first column has this title."""
    found = re.search(rf"^\| {re.escape(first)} \|.*\n\|[ |-]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found, f"no table begins with the column {first!r}"
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in found[1].splitlines()]  # fmt: skip
    assert all(row[-1] for row in rows), "a row explains nothing"
    return rows


def documented(first: str) -> dict[str, str]:
    """Return first column, without its quotes -> second column."""
    rows = table(first)
    found = {row[0].strip("`"): row[1] for row in rows}
    assert len(found) == len(rows), "a name stands in the table twice"
    return found


def shown(default: object) -> str:
    """Return a default as the tables write it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, float):
        return str(int(default)) if default.is_integer() else f"{default:g}"
    return str(default) or "empty"


def fields(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {each.encode_name: shown(each.default) for each in msgspec.structs.fields(kind)}


def test_every_setting_with_its_default() -> None:
    assert documented("setting") == fields(Environment)


def test_every_limit_of_the_edge_with_its_default() -> None:
    assert documented("limit") == fields(EdgeLimits)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {
        max(action.option_strings, key=len)
        for action in parser._actions
        if action.option_strings and action.help is not argparse.SUPPRESS
    } - STANDARD


def commands() -> dict[str, set[str]]:
    """Return every command of the project, subcommands one by one -> its options."""
    found: dict[str, set[str]] = {}
    for name, app in get_commands().items():
        if str(app).partition(".")[0] not in OURS:
            continue
        parser: Any = load_command_class(str(app), name).create_parser("manage.py", name)
        subparsers = [each for each in parser._actions
                      if isinstance(each, argparse._SubParsersAction)]  # fmt: skip
        if not subparsers:
            found[name] = options_of(parser)
        for action in subparsers:
            for child, child_parser in action.choices.items():
                found[f"{name} {child}"] = options_of(child_parser)
    return found


def test_every_command_with_its_options() -> None:
    rows = documented("command")
    assert {name: set(re.findall(r"--[\w-]+", text)) for name, text in rows.items()} == commands()


def test_every_close_code() -> None:
    assert {int(code) for code in documented("close code")} == set(CloseCode)


def test_the_protocol_explains_every_close_code() -> None:
    named = {int(code) for row in table("close code", PROTOCOL) for code in row[0].split(", ")}
    # 4413 is kept for servers that close; here a subscription too many is refused by itself.
    assert named - {4413} == set(CloseCode)


def test_every_exit_code() -> None:
    assert {int(code) for code in documented("exit code")} == set(Exit)


def test_the_subcommands_are_those_that_run() -> None:
    named = {name.removeprefix("pool ") for name in documented("command") if " " in name}
    assert named == set(SUBCOMMANDS)


@pytest.mark.parametrize("text", ["| a | b |\n| --- | --- |\n| x |  |\n", "no table\n"])
def test_the_check_bites(text: str) -> None:
    with pytest.raises(AssertionError):
        table("a", text)
