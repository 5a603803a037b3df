"""``manage.py createkeyfile``: make the key file of the credentials, or that of the bus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pooling import conf
from pooling.keys.files import KeyFileError, create_key_file, public_file, write_public
from pooling.keys.opening import CredentialOpener
from streaming.exceptions import BusError
from streaming.wire.keys import create_key_file as create_bus_key_file

__all__ = ["Command"]


class Command(BaseCommand):
    """Create the key file once; an existing one is never overwritten."""

    help = (
        "Create the key pair of brokers' credentials: DATA_DIR/credentials.key, which opens them "
        "and is the worker's, and credentials.pub beside it, which only seals."
    )
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
        public = public_file(path)
        try:
            if path.exists() and not public.exists():
                self._write_public(path)
                return
            create_key_file(path)
        except FileExistsError:
            if not path.exists():
                raise CommandError(
                    f"{public} is there without its private half {path}: restore that, or remove "
                    f"{public.name} and run this again; stored credentials are lost then"
                ) from None
            raise CommandError(
                f"{path} exists already and is left alone: what is stored depends on it"
            ) from None
        except KeyFileError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(
                f"{error.filename or path} cannot be written: {error.strerror}"
            ) from None
        self.stdout.write(
            f"{path} created, and {public} to go with it. Keep a copy: without the first "
            "credentials are lost."
        )

    def _write_public(self, path: Path) -> None:
        newest = CredentialOpener.from_file(path).newest
        if newest is None:
            raise CommandError(
                f"{path} exists already and is left alone: what is stored depends on it; "
                "`python manage.py sealcredentials` adds a key pair"
            )
        write_public(path, newest)
        self.stdout.write(f"{public_file(path)} written from {path}.")

    def _create_bus_key(self, path: Path) -> None:
        try:
            create_bus_key_file(path)
        except BusError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"{path} created. Set ZMQ_CURVE_KEY_FILE to it and copy it to every machine of the bus."
        )
