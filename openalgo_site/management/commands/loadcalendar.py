"""``manage.py loadcalendar``: holidays and special sessions from a file of lines."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from openalgo_site.cli.base import Exit
from pooling.calendar.days import Market
from pooling.models import TradingDay

__all__ = ["Command"]

MAX_LINES = 2_000
SHAPE = "write day,market,opens,closes,note: 2027-01-26,equity,,,Republic Day"


class Command(BaseCommand):
    """Reads lines and stores those that are new; all of a file, or nothing."""

    help = "Store holidays and special sessions of markets from a CSV file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            help="lines of day,market,opens,closes,note; no times for a holiday; - reads standard "
            "input",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            lines = _lines(options["file"])
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']} cannot be read: {error}") from None
        rows = list(_rows(lines))
        with transaction.atomic():
            made = sum(
                TradingDay.objects.get_or_create(
                    market=row.market,
                    day=row.day,
                    opens=row.opens,
                    defaults={"closes": row.closes, "note": row.note},
                )[1]
                for row in rows
            )
        self.stdout.write(f"{made} of {len(rows)} days are new.")


def _lines(name: str) -> list[str]:
    text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) > MAX_LINES:
        raise CommandError(f"{name} has more than {MAX_LINES:,} lines.", returncode=Exit.USAGE)
    return lines


def _rows(lines: list[str]) -> Iterator[TradingDay]:
    for number, cells in enumerate(csv.reader(lines), 1):
        if cells[0].strip().lower() == "day":
            continue  # the head of the table
        try:
            day, market, opens, closes, note = [*(each.strip() for each in cells), "", "", ""][:5]
            row = TradingDay(
                day=date.fromisoformat(day),
                market=Market(market or Market.EQUITY).value,
                opens=time.fromisoformat(opens) if opens else None,
                closes=time.fromisoformat(closes) if closes else None,
                note=note,
            )
            row.full_clean(validate_unique=False, validate_constraints=False)
        except (ValueError, ValidationError) as error:
            words = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
            raise CommandError(
                f"line {number} cannot be used ({words}): {SHAPE}", returncode=Exit.USAGE
            ) from None
        yield row
