"""``manage.py loadinstruments``: replace a broker's instruments by its current master."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers.exceptions import BrokerError
from pooling import conf
from pooling.instruments import load_instruments
from pooling.operations.progress import ProgressReporter

__all__ = ["Command"]


class Command(BaseCommand):
    """Download or read a master and store it, all or nothing."""

    help = "Replace a broker's instruments by those of its current master, all or nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--broker", required=True, help="for example zerodha or binance")
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--url", default="", help="where to download it (the broker's own)")
        source.add_argument("--file", type=Path, help="a file to read instead")
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")

    def handle(self, *args: Any, **options: Any) -> None:
        stream: Any = self.stderr
        progress = ProgressReporter(stream=stream, is_terminal=stream.isatty())
        try:
            count = load_instruments(
                conf.broker_registry().get(options["broker"]),
                url=options["url"],
                file=options["file"],
                timeout=conf.environment().http_connection_timeout,
                progress=progress,
            )
        except (BrokerError, OSError) as error:
            raise CommandError(str(error)) from None
        finally:
            progress.close()
        if options["json"]:
            self.stdout.write(json.dumps({"broker": options["broker"], "instruments": count}))
        else:
            self.stdout.write(f"{options['broker']}: {count:,} instruments")
