"""``manage.py rungateway``: serve the site and the clients' sockets until a signal."""

from __future__ import annotations

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from openalgo_site.asgi import application, gateway
from streaming.exceptions import BusConfigurationError
from streaming.server import PortTakenError, run_gateway

__all__ = ["Command"]

EXIT_CONFIGURATION = 78


class Command(BaseCommand):
    """Joins application, hub and server; everything else is theirs."""

    help = "Serve the site (PORT) and OpenAlgo clients (OPENALGO_PORT)."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        env = settings.ENV
        parser.add_argument("--host", default=env.host)
        parser.add_argument("--port", type=int, default=env.port)
        parser.add_argument("--openalgo-port", type=int, default=env.openalgo_port)

    def handle(self, *args: Any, **options: Any) -> None:
        host, port, openalgo_port = options["host"], options["port"], options["openalgo_port"]

        def announce() -> None:
            self.stdout.write(f"gateway: site on {host}:{port}, OpenAlgo on {openalgo_port}")

        try:
            run_gateway(
                application=application,
                gateway=gateway,
                host=host,
                port=port,
                openalgo_port=openalgo_port,
                on_listening=announce,
            )
        except PortTakenError as error:
            raise CommandError(str(error)) from None
        except BusConfigurationError as error:
            raise CommandError(str(error), returncode=EXIT_CONFIGURATION) from None
