"""``manage.py rungateway``: serve the site and the clients' sockets until a signal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from brokers.endpoints.addresses import netloc
from openalgo_site.asgi import application, gateway, make_link
from openalgo_site.cli.tables import log_tables_trouble
from openalgo_site.login.demo_user import log_demo_user
from openalgo_site.processes.gateways import listen_beside_others, serve_processes
from openalgo_site.processes.ready_pipe import say_ready
from openalgo_site.processes.stopping import end_within
from openalgo_site.processes.supervisor import ChildFailedError
from openalgo_site.web.metrics import answer_siblings
from streaming.exceptions import BusConfigurationError
from streaming.gateway.server import PortTakenError, run_gateway

__all__ = ["Command"]

EXIT_USAGE = 2
THREADS_SECONDS = 1.0
EXIT_CONFIGURATION = 78


class Command(BaseCommand):
    """Joins application, hub and server; everything else is theirs."""

    help = "Serve the site (PORT) and OpenAlgo clients (OPENALGO_PORT)."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        env = settings.ENV
        parser.add_argument("--host", default=env.host)
        parser.add_argument("--port", type=int, default=env.port)
        parser.add_argument("--openalgo-port", type=int, default=env.openalgo_port)
        parser.add_argument(
            "--workers", type=int, default=env.gateway_workers, help="processes behind these ports"
        )
        # From a parent: which of its processes this is, and where it wants to hear that it serves.
        parser.add_argument("--beside-others", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["workers"] < 1:
            raise CommandError("--workers must be at least 1", returncode=EXIT_USAGE)
        try:
            if options["beside_others"] is not None:
                self._serve_beside_others(options)
            elif options["workers"] > 1:
                self._serve_several(options)
            else:
                self._serve(options)
            # What is left is threads that wait for a database, which may never answer.
            end_within(THREADS_SECONDS)
        except (PortTakenError, ChildFailedError) as error:
            raise CommandError(str(error)) from None
        except BusConfigurationError as error:
            raise CommandError(str(error), returncode=EXIT_CONFIGURATION) from None

    def _serve(self, options: dict[str, Any]) -> None:
        host, port, openalgo_port = options["host"], options["port"], options["openalgo_port"]

        def on_listening() -> None:
            self._say(f"gateway: site on {netloc(host, port)}, OpenAlgo on {openalgo_port}")
            log_tables_trouble()
            log_demo_user(host)
            _say_ready(options)

        run_gateway(
            application=application,
            gateway=gateway,
            host=host,
            port=port,
            openalgo_port=openalgo_port,
            on_listening=on_listening,
        )

    def _serve_several(self, options: dict[str, Any]) -> None:
        make_link()  # what is wrong with the settings is said once, before anything is started

        def on_ready() -> None:
            log_tables_trouble()
            log_demo_user(options["host"])
            _say_ready(options)

        serve_processes(
            count=options["workers"],
            manage=Path(settings.BASE_DIR) / "manage.py",
            host=options["host"],
            port=options["port"],
            openalgo_port=options["openalgo_port"],
            say=self._say,
            on_ready=on_ready,
        )

    def _serve_beside_others(self, options: dict[str, Any]) -> None:
        host, port, openalgo_port = options["host"], options["port"], options["openalgo_port"]

        def on_listening() -> None:
            answer_siblings(gateway)
            _say_ready(options)

        run_gateway(
            application=application,
            gateway=gateway,
            host=host,
            port=port,
            openalgo_port=openalgo_port,
            on_listening=on_listening,
            sockets=(
                listen_beside_others(host, port),
                listen_beside_others(host, openalgo_port),
            ),
        )

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _say_ready(options: dict[str, Any]) -> None:
    if options["ready_fd"] is not None:
        say_ready(options["ready_fd"], options["beside_others"] or 0)
