"""Twisted, the ground of Django's development server here, is in that process and in no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.database.kit import run

START = """
import sys
sys.argv = ["manage.py", "{command}"]
import django
django.setup()
from django.core.management import get_commands
print(get_commands()["runserver"] == "daphne", "twisted" in sys.modules)
"""


@pytest.mark.parametrize(
    ("command", "found"),
    [("runserver", "True True"), ("rungateway", "False False"), ("runpool", "False False")],
)
def test_only_the_development_server_holds_its_ground(
    command: str, found: str, tmp_path: Path
) -> None:
    """It is 20 MB, and a quarter of the time that a command takes to start."""
    assert run(START.format(command=command), tmp_path) == found
