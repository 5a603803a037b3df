"""``manage.py sealcredentials``: seal what is stored for the key pair in use, or for a new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pooling import conf
from pooling.keys.crypto import SYMMETRIC, load_sealer
from pooling.keys.files import KeyFileError, add_key_pair, public_file, write_public
from pooling.keys.opening import CredentialOpener
from pooling.operations.sealing import reseal, rows_by_key, rows_of_others

__all__ = ["Command"]


class Command(BaseCommand):
    """Make a key pair if there is none, then seal every stored credential for it."""

    help = (
        "Seal every stored credential for the key pair in use, so that no gateway can open it. "
        "Run it as the worker's user; worker and gateways may go on running."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--new-key", action="store_true", help="make a new key pair first")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what is sealed for which key, and end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path = conf.key_file()
        try:
            if options["dry_run"]:
                self._tell(load_sealer(path).key_id, CredentialOpener.from_file(path))
                return
            self._make_pair(path, is_asked=options["new_key"])
            opener, sealer = CredentialOpener.from_file(path), load_sealer(path)
            if wrong := opener.mismatch(path, sealer.key_id):
                raise CommandError(wrong)
        except KeyFileError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from None
        result = reseal(opener, sealer)
        if result.done:
            self.stdout.write(f"{_rows(result.done)} sealed for key {sealer.key_id}.")
        if result.changed:
            self.stdout.write(f"{_rows(result.changed)} saved meanwhile: run this again.")
        if result.unreadable:
            raise CommandError("\n".join(["These stay as they are:", *result.unreadable]))
        if not result.done and not result.changed:
            self.stdout.write(f"Everything is sealed for key {sealer.key_id}.")

    def _make_pair(self, path: Path, *, is_asked: bool) -> None:
        opener = CredentialOpener.from_file(path)
        if opener.newest is not None and not is_asked:
            return
        public = add_key_pair(path)
        write_public(path, public)
        self.stdout.write(
            f"A key pair was added to {path}: keep a copy of it. Copy it to the workers, and then "
            f"{public_file(path)} to the gateways, that have a DATA_DIR of their own."
        )

    def _tell(self, in_use: str, opener: CredentialOpener) -> None:
        for line in _lines(in_use, opener):
            self.stdout.write(line)


def _lines(in_use: str, opener: CredentialOpener) -> Iterator[str]:
    found = rows_by_key()
    for name in dict.fromkeys((in_use, *opener.key_ids, *sorted(found))):
        words = _key(name)
        if name == in_use:
            words += ", in use"
        elif name != SYMMETRIC and name not in opener.key_ids:
            words += ", which is not in the key file"
        yield f"{words}: {_rows(found[name])}"
    for row, names in rows_of_others(in_use):
        yield f"  {row}: {', '.join(map(_key, names))}"


def _key(name: str) -> str:
    return f"key {name}" if name != SYMMETRIC else "symmetric keys"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
