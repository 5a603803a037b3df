"""``manage.py loadinstruments``: replace brokers' instruments by their current masters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from brokers.exceptions import (
    BrokerConfigError,
    BrokerError,
    BrokerProtocolError,
    BrokerUnavailableError,
)
from brokers.passed_over import PassedOver
from openalgo_site.cli.command_line import database_sentence
from pooling import conf
from pooling.instruments.download import download_masters, open_master
from pooling.instruments.loader import LoadResult, store_instruments
from pooling.instruments.reasons import why_not_listed
from pooling.models import BrokerAccount
from pooling.progress import ProgressReporter

__all__ = ["Command"]


class Command(BaseCommand):
    """Download or read masters and store them, each all or nothing."""

    help = (
        "Replace a broker's instruments by those of its current master, all or nothing; without "
        "--broker those of every broker with an enabled account. Run it once a day, before the "
        "markets open."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--broker", help="for example zerodha (all with an enabled account)")
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--url", default="", help="where to download it (the broker's own)")
        source.add_argument("--file", type=Path, help="a file to read instead")
        parser.add_argument(
            "--force", action="store_true", help="take a master with less than half of the rows"
        )
        parser.add_argument(
            "--strict",
            action="store_true",
            help="refuse a master with rows that should be instruments and cannot be used",
        )
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")

    def handle(self, *args: Any, **options: Any) -> None:
        brokers = _brokers(options["broker"], options["url"] or options["file"])
        stream: Any = self.stderr
        progress = ProgressReporter(stream=stream, is_terminal=stream.isatty())
        results: dict[str, LoadResult] = {}
        failures: dict[str, str] = {}
        try:
            for broker, masters in _masters(brokers, options, progress).items():
                try:
                    results[broker] = _store(broker, masters, progress, options)
                except (BrokerError, OSError) as error:
                    failures[broker] = _failure(broker, f"{error}{_way_round(error, options)}")
                except Error as error:
                    failures[broker] = f"{broker}: {database_sentence(error)}"
        finally:
            progress.close()
        self._report(results, as_json=options["json"])
        if failures:
            raise CommandError("\n".join(failures[broker] for broker in sorted(failures)))

    def _report(self, results: Mapping[str, LoadResult], *, as_json: bool) -> None:
        for broker, result in results.items():
            if as_json:
                figures = {
                    "broker": broker,
                    "instruments": result.rows,
                    "written": result.written,
                    "expired": result.expired,
                    "renamed": result.renamed,
                    "passed_over": [
                        {
                            "reason": reason.text,
                            "rows": reason.count,
                            "is_fault": reason.is_fault,
                            "examples": reason.examples,
                        }
                        for reason in result.passed_over
                    ],
                }
                self.stdout.write(json.dumps(figures))
            else:
                self.stdout.write(
                    f"{broker}: {result.rows:,} instruments, {result.written:,} of them new or "
                    f"changed; {result.expired:,} expired"
                )
                for line in _passed_over(result):
                    self.stdout.write(line)


def _way_round(error: Exception, options: Mapping[str, Any]) -> str:
    """Say how a master comes in that this machine cannot download."""
    if not isinstance(error, BrokerUnavailableError):
        return ""
    other = "another --url" if options["url"] else "--url"
    return f"; where this machine cannot reach it, load a copy with --file, or from {other}"


def _failure(broker: str, words: str) -> str:
    """Say in one sentence what went wrong, and what that means."""
    sentence = " ".join(words.split())
    if why_not_listed(broker):
        return f"{broker}: {sentence}"
    return f"{broker}: {sentence}; its instruments of before stay"


def _passed_over(result: LoadResult) -> Iterator[str]:
    """Say what of the master is no instrument, what should be one first."""
    if result.renamed:
        yield f"  {result.renamed:,} share a name with another: their token is behind it"
    for reason in sorted(result.passed_over, key=lambda each: (not each.is_fault, -each.count)):
        what = "cannot be used" if reason.is_fault else "passed over"
        examples = ", ".join(filter(None, reason.examples))
        yield f"  {reason.count:,} {what}: {reason.text}" + (f" ({examples})" if examples else "")


def _brokers(name: str | None, source: object) -> list[str]:
    if name is not None:
        try:
            conf.broker_registry().get(name)
        except BrokerConfigError as error:
            raise CommandError(str(error)) from None
        return [name]
    if source:
        raise CommandError("say with --broker whose master it is")
    used = set(BrokerAccount.objects.filter(enabled=True).values_list("broker", flat=True))
    brokers = sorted(used & set(conf.broker_registry().names()))
    if not brokers:
        raise CommandError("there is no enabled broker account: name a broker with --broker")
    return brokers


def _masters(
    brokers: list[str], options: Mapping[str, Any], progress: ProgressReporter
) -> dict[str, list[BinaryIO] | BrokerError]:
    """Return each broker's files, all of them or why one could not be had."""
    if options["file"] is not None:
        try:
            return {brokers[0]: [open_master(options["file"])]}
        except (BrokerError, OSError) as error:
            raise CommandError(str(error)) from None
    registry = conf.broker_registry()
    given = (options["url"],) if options["url"] else ()
    urls = {
        (name, url): url
        for name in brokers
        for url in given or registry.get(name).master_urls(None)
    }
    files = download_masters(urls, options=conf.http_options(), progress=progress)
    found: dict[str, list[BinaryIO] | BrokerError] = {}
    for broker in brokers:
        masters = [file for (name, _), file in files.items() if name == broker]
        whole = [file for file in masters if not isinstance(file, BrokerError)]
        failed = [file for file in masters if isinstance(file, BrokerError)]
        for file in whole if failed else ():
            file.close()
        found[broker] = failed[0] if failed else whole
        if whole and not failed and not any(map(_has_content, whole)):
            for file in whole:
                file.close()
            source = ", ".join(url for name, url in urls if name == broker)
            found[broker] = BrokerProtocolError(f"{source} is empty")
    return found


def _has_content(file: BinaryIO) -> bool:
    content = file.read(1)
    file.seek(0)
    return bool(content)


def _store(
    broker: str,
    masters: list[BinaryIO] | BrokerError,
    progress: ProgressReporter,
    options: Mapping[str, Any],
) -> LoadResult:
    if isinstance(masters, BrokerError):
        raise masters
    with ExitStack() as stack:
        for master in masters:
            stack.enter_context(master)
        passed = PassedOver()
        rows = conf.broker_registry().get(broker).parse_masters(masters, passed)
        return store_instruments(
            broker,
            rows,
            progress,
            is_forced=options["force"],
            is_strict=options["strict"],
            passed=passed,
        )
