"""``manage.py runsimulator``: the local exchange, or a recorded one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers.simulator.login.desk import LoginDesk
from brokers.simulator.runner import (
    MARKET_EXCHANGES,
    PLANS,
    SimulatorError,
    build_exchange,
    build_login,
    build_replay,
    run,
)

__all__ = ["Command"]


class Command(BaseCommand):
    """Run the local exchange on 127.0.0.1 until SIGINT or SIGTERM."""

    help = "Run a local exchange that speaks a broker's protocol, or replays a capture as Binance."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        env = settings.ENV
        parser.add_argument("--broker", choices=tuple(MARKET_EXCHANGES), default="zerodha")
        parser.add_argument("--port", type=int, default=env.simulator_port, help="SIMULATOR_PORT")
        parser.add_argument(
            "--login-port", type=int, default=env.simulator_login_port, help="0: no logins"
        )
        parser.add_argument(
            "--login-redirect",
            default=f"http://127.0.0.1:{env.port}",
            metavar="SITE",
            help="the site to which browsers come back",
        )
        parser.add_argument(
            "--only-logins", action="store_true", help="the feed takes nothing but their tokens"
        )
        parser.add_argument("--rate", type=float, default=env.simulator_rate, help="ticks a second")
        parser.add_argument("--seed", type=int, default=1, help="makes the market repeatable")
        parser.add_argument("--api-key", default=env.simulator_api_key)
        parser.add_argument("--access-token", default=env.simulator_access_token)
        parser.add_argument("--plan", help="of a broker's users: " + _known_plans())
        parser.add_argument(
            "--stamp", type=int, metavar="N", help="prices say N, the instrument and the second"
        )
        parser.add_argument("--replay", type=Path, metavar="FILE", help="a recorded capture")
        parser.add_argument("--speed", type=float, default=1.0, help="of the replay; 0: no pauses")
        parser.add_argument("--loop", action="store_true", help="start the replay again at its end")

    def handle(self, *args: Any, **options: Any) -> None:
        live = options["replay"] is None
        build = build_exchange if live else build_replay
        names = (
            "broker port rate seed api_key access_token plan stamp"
            if live
            else "replay port speed loop"
        )
        chosen = {name: options[name] for name in names.split()}
        chosen["control_token"] = settings.ENV.simulator_control_token
        try:
            login = self._login(**options) if live else None
            run(
                build(**chosen),
                port=options["port"],
                announce=self._say,
                login=login,
                only_logins=options["only_logins"],
            )
        except SimulatorError as error:
            raise CommandError(str(error)) from None

    @staticmethod
    def _login(
        *, broker: str, login_port: int, login_redirect: str, **others: Any
    ) -> LoginDesk | None:
        redirect = f"{login_redirect.rstrip('/')}/brokers/{broker}/callback/"
        return build_login(
            broker=broker,
            port=login_port,
            redirect=redirect,
            control_token=settings.ENV.simulator_control_token,
        )

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _known_plans() -> str:
    return "; ".join(f"{broker} has {', '.join(plans)}" for broker, plans in PLANS.items())
