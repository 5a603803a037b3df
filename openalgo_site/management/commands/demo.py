"""``manage.py demo``: everything at once, in the foreground; what ``make run`` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers.simulator.runner import MARKET_EXCHANGES
from openalgo_site.demo.main import DEMO_ERRORS, DemoChoice, run

__all__ = ["Command"]


class Command(BaseCommand):
    """Prepare an installation and run exchange, worker and gateway until Ctrl-C."""

    help = "Run the whole system in the foreground, with a local exchange and a demo user."
    requires_system_checks = ()  # the first run makes what the checks ask for

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--broker",
            choices=(*MARKET_EXCHANGES, "binance"),
            default="zerodha",
            help="binance: the real one, which needs internet, no key; any other: a local exchange "
            "that speaks its protocol",
        )
        parser.add_argument("--replay", type=Path, help="play a recorded Binance capture instead")
        parser.add_argument("--speed", type=float, help="pace of the replay; 1 is the recorded one")
        parser.add_argument(
            "--with-parent", action="store_true", help="stop when the calling process ends"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["speed"] is not None and options["replay"] is None:
            raise CommandError("--speed belongs to --replay FILE", returncode=2)
        choice = DemoChoice(
            broker=options["broker"], replay=options["replay"], speed=options["speed"]
        )
        try:
            run(choice, with_parent=options["with_parent"])
        except DEMO_ERRORS as error:
            raise CommandError(str(error)) from None
