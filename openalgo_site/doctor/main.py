"""All checks in their order, and the ``doctor`` subcommand that runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

from django.core.management.base import CommandParser

from openalgo_site.cli.base import Exit, Options, Output, Subcommand
from openalgo_site.doctor import keys, processes, storage, surroundings
from openalgo_site.doctor.api_keys import api_keys
from openalgo_site.doctor.findings import Check, Finding, Outcome, skipped
from openalgo_site.doctor.forwarded import forwarded
from pooling.tables import cut

__all__ = ["DOCTOR", "all_checks", "examine"]

MARKS = {
    Outcome.OK: "ok      ",
    Outcome.WARNING: "WARNING ",
    Outcome.FAILED: "FAILED  ",
    Outcome.SKIPPED: "skipped ",
}
NAME_WIDTH = 12


def all_checks(*, network: bool = False, clients: int | None = None) -> list[Check]:
    """Return the checks, those that others need first."""
    tables = ("database", "migrations")
    checks = [
        Check("settings", surroundings.system_checks),
        Check("origins", surroundings.origins),
        Check("open files", partial(surroundings.open_files, clients)),
        Check("clock", surroundings.clock),
        Check("proxy", surroundings.proxy),
        Check("disk", storage.disk),
        Check("private", storage.private),
        Check("database", storage.database),
        Check("migrations", storage.migrations, needs=("database",)),
        Check("writable", storage.writable, needs=tables),
        Check("key file", keys.key_file),
        Check("credentials", keys.credentials, needs=(*tables, "key file")),
        Check("api keys", api_keys, needs=tables),
        Check("demo user", keys.demo_user, needs=tables),
        Check("instruments", storage.instruments, needs=tables),
        Check("workers", processes.workers, needs=tables),
        Check("bus", processes.bus),
        Check("gateways", processes.gateways, needs=tables),
        Check("forwarded", forwarded, needs=tables),
        Check("redis", processes.notices),
    ]
    if network:
        checks.append(Check("brokers", surroundings.brokers, needs=tables))
    return checks


def examine(checks: list[Check]) -> Iterator[Finding]:
    """Run checks and yield their findings as they come; one whose needs failed is skipped."""
    broken: set[str] = set()
    for check in checks:
        blocker = next((name for name in check.needs if name in broken), None)
        if blocker is not None:
            broken.add(check.name)
            yield skipped(check.name, f"not looked at, because of {blocker}")
            continue
        for finding in check.findings():
            if finding.outcome is Outcome.FAILED:
                broken.add(check.name)
            yield finding


def _arguments(parser: CommandParser) -> None:
    parser.add_argument("--network", action="store_true", help="also connect to the brokers")
    parser.add_argument("--clients", type=int, metavar="N", help="how many clients are expected")


def _doctor(options: Options, out: Output) -> Exit | None:
    findings = []
    for finding in examine(all_checks(network=options["network"], clients=options["clients"])):
        findings.append(finding)
        if not out.as_json:
            out.line(_text(finding))
    counts = Counter(finding.outcome for finding in findings)
    failures = counts[Outcome.FAILED]
    words = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
    out.show({"ok": failures == 0, "findings": findings}, f"\n{words}.")
    return Exit.ERROR if failures else None


def _text(finding: Finding) -> str:
    line = f"{MARKS[finding.outcome]}{finding.check:<{NAME_WIDTH}}{cut(finding.message, 400)}"
    return f"{line}\n{' ' * 8}{'':<{NAME_WIDTH}}→ {finding.mends}" if finding.mends else line


DOCTOR = Subcommand(
    name="doctor",
    help="say what is wrong with this installation, and what mends it",
    run=_doctor,
    arguments=_arguments,
)
