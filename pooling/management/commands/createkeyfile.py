"""``manage.py createkeyfile``: make the key file of the credentials, or that of the bus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pooling import conf
from pooling.crypto import create_key_file
from streaming.curve import create_key_file as create_bus_key_file
from streaming.exceptions import BusError

__all__ = ["Command"]


class Command(BaseCommand):
    """Create the key file once; an existing one is never overwritten."""

    help = "Create the key file that encrypts brokers' credentials (DATA_DIR/credentials.key)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--bus",
            type=Path,
            metavar="FILE",
            help="create the bus's key pair instead, for ZMQ_CURVE_KEY_FILE of every machine",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["bus"] is not None:
            self._create_bus_key(options["bus"])
            return
        path = conf.key_file()
        try:
            create_key_file(path)
        except FileExistsError:
            raise CommandError(
                f"{path} exists already and is left alone: what is stored depends on it"
            ) from None
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from None
        self.stdout.write(f"{path} created. Keep a copy: without it credentials are lost.")

    def _create_bus_key(self, path: Path) -> None:
        try:
            create_bus_key_file(path)
        except BusError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"{path} created. Set ZMQ_CURVE_KEY_FILE to it and copy it to every machine of the bus."
        )
