"""``manage.py createkeyfile``: make the key file that brokers' credentials are encrypted with."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pooling import conf
from pooling.crypto import create_key_file

__all__ = ["Command"]


class Command(BaseCommand):
    """Create the key file once; an existing one is never overwritten."""

    help = "Create the key file that encrypts brokers' credentials (DATA_DIR/credentials.key)."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
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
