"""``pool set-limit``, ``set-setting``, ``pause``, ``export``: what changes or writes something."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import CommandParser
from django.db.models import PositiveIntegerField

from brokers.words import counted
from openalgo_site.cli.base import CliError, Exit, Options, Output, Subcommand
from openalgo_site.cli.reading import settings_table
from pooling.models import PoolCommand, PoolConfig
from pooling.operations.crowding import crowding
from pooling.operations.describe import command_dict
from pooling.operations.history import prune
from pooling.operations.limit_change import (
    LimitChange,
    LimitError,
    apply_change,
    plan_change,
    wait_until_applied,
)
from pooling.operations.naming import account_name, find_account
from pooling.operations.removal import plan_removal, remove_account
from pooling.operations.settings import (
    SettingChange,
    SettingError,
    apply_settings,
    plan_settings,
    setting_dicts,
    wait_until_in_force,
)
from pooling.operations.transfer import TransferError, apply_import, export, plan_import
from pooling.store import commands as command_queue
from pooling.tables import table

__all__ = ["CHANGING"]

MAX_FILE_BYTES = 64 * 1024 * 1024
DEFAULT = "default"


def _pool_argument(parser: CommandParser) -> None:
    parser.add_argument("pool", help="id, or user/broker/label as far as it is unambiguous")


def _wait_argument(parser: CommandParser, seconds: float) -> None:
    parser.add_argument(
        "--wait", type=float, default=seconds, metavar="SECONDS", help="for the worker's answer"
    )


# Limits


def _set_limit_arguments(parser: CommandParser) -> None:
    _pool_argument(parser)
    for name in PoolConfig.OPTIONS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="N", help="or 'default'")
    parser.add_argument("--yes", action="store_true", help="do not ask before dropping anything")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, and end")
    _wait_argument(parser, 10.0)


def _set_limit(options: Options, out: Output) -> Exit | None:
    account = find_account(options["pool"])
    values = {name: _limit(name, options[name]) for name in PoolConfig.OPTIONS if options[name]}
    if not values:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in PoolConfig.OPTIONS)
        raise CliError(f"Name at least one limit: {names}.", Exit.USAGE)
    try:
        change = plan_change(account, values)
    except LimitError as error:
        raise CliError(str(error), Exit.USAGE) from None
    if not out.as_json:
        out.line(_change_table(change))
    if change.is_change and not options["dry_run"]:
        if (change.drops or change.closes) and not options["yes"]:
            out.confirm(_loss(change))
        apply_change(change, by=f"{getpass.getuser()} on the command line")
        applied = wait_until_applied(change, options["wait"]) if options["wait"] > 0 else None
    else:
        applied = None
    words, code = _outcome(change, applied, options)
    value = {**change.to_dict(), "saved": change.is_change and not options["dry_run"],
             "applied": applied, "message": words, "warning": crowding(account)}  # fmt: skip
    out.show(value, _with_warnings(words, value["warning"]))
    return code


def _with_warnings(words: str, *warnings: str | None) -> str:
    return "\n\n".join([words, *filter(None, dict.fromkeys(warnings))])


def _limit(name: str, text: str) -> float | None:
    if text == DEFAULT:
        return None
    kind = int if isinstance(PoolConfig._meta.get_field(name), PositiveIntegerField) else float
    try:
        return kind(text)
    except ValueError:
        option = name.replace("_", "-")
        what = "whole number" if kind is int else "number"
        raise CliError(f"--{option} {text!r} is no {what}, nor '{DEFAULT}'.", Exit.USAGE) from None


def _change_table(change: LimitChange) -> str:
    def number(value: float | None) -> str:
        return DEFAULT if value is None else f"{value:,}"

    rows = [
        (
            name.replace("_", " "),
            number(change.old[name]),
            number(change.new[name]),
            number(change.effective[name]),
        )
        for name in change.new
    ]
    return table(("LIMIT", "OLD", "NEW", "IN FORCE"), rows, right=(1, 2, 3))


def _loss(change: LimitChange) -> str:
    parts = []
    if change.drops:
        parts.append(
            f"{change.drops:,} of {change.used:,} in use would lose their place, the newest first"
        )
    if change.closes:
        parts.append(f"{counted(change.closes, 'connection')} would be closed")
    return f"{' and '.join(parts)}."


def _outcome(
    change: LimitChange, applied: bool | None, options: Options
) -> tuple[str, Exit | None]:
    if not change.is_change:
        return "Nothing to change: these are the limits already.", None
    if options["dry_run"]:
        loss = f" {_loss(change)}" if change.drops or change.closes else " Nothing would be lost."
        return f"Not saved (--dry-run).{loss}", None
    revision = change.config.revision
    if applied:
        return f"Revision {revision} is in force.", None
    if applied is None:
        return f"Revision {revision} is saved; the pool's worker takes it up once it runs.", None
    return (
        f"Revision {revision} is saved, but the worker has not taken it up within "
        f"{options['wait']:g} s: see `manage.py pool doctor`."
    ), Exit.ERROR


# Settings


def _set_setting_arguments(parser: CommandParser) -> None:
    _pool_argument(parser)
    parser.add_argument("name", help="as in `pool show`")
    parser.add_argument("value", help="or 'default'")
    parser.add_argument("--yes", action="store_true", help="do not ask before dropping anything")
    _wait_argument(parser, 10.0)


def _set_setting(options: Options, out: Output) -> Exit | None:
    account = find_account(options["pool"])
    name, value = options["name"], options["value"]
    try:
        change = plan_settings(account, {name: None if value == DEFAULT else value})
        effect = plan_change(change.with_settings(), {})
    except (SettingError, LimitError) as error:
        raise CliError(str(error), Exit.USAGE) from None
    applied = None
    if change.is_change:
        if (effect.drops or effect.closes) and not options["yes"]:
            out.confirm(_loss(effect))
        told = apply_settings(change, by=f"{getpass.getuser()} on the command line")
        if options["wait"] > 0:
            applied = wait_until_in_force(told, options["wait"])
    words, code = _setting_outcome(change, applied, options)
    found = {
        "pool": account.pk,
        "settings": {name: {"old": change.old[name], "new": change.new[name]}},
        "drops": effect.drops,
        "closes": effect.closes,
        "saved": change.is_change,
        "applied": applied,
        "message": words,
    }
    rows = [each for each in setting_dicts(account) if each["name"] == name]
    out.show(found, f"{settings_table(rows)}\n\n{words}")
    return code


def _setting_outcome(
    change: SettingChange, applied: bool | None, options: Options
) -> tuple[str, Exit | None]:
    if not change.is_change:
        return "Nothing to change: that is the value already.", None
    if applied:
        return "It is in force; the pool's connections are opened again.", None
    if applied is None:
        return "It is saved; the pool's worker takes it up once it runs.", None
    return (
        f"It is saved, but the worker has not taken it up within {options['wait']:g} s: see "
        "`manage.py pool doctor`."
    ), Exit.ERROR


# Requests to the worker


def _request(
    verb: PoolCommand.Verb,
    argument: Callable[[Options], Mapping[str, Any]],
    options: Options,
    out: Output,
) -> Exit | None:
    account = find_account(options["pool"])
    command = command_queue.submit(
        account, verb, argument=argument(options), source=PoolCommand.Source.COMMAND_LINE
    )
    command = command_queue.wait_for(command, options["wait"])
    words = command.result or f"{account_name(account)}: {command.verb} is {command.state}."
    out.show(command_dict(command), words)
    if command.state == PoolCommand.State.DONE:
        return None
    # A flag that is kept at the account holds without a worker, too.
    is_kept = verb in (PoolCommand.Verb.PAUSE, PoolCommand.Verb.RESUME)
    return None if is_kept and not command.is_finished else Exit.ERROR


def _request_arguments(parser: CommandParser, *, slot: bool = False) -> None:
    _pool_argument(parser)
    _wait_argument(parser, 5.0)
    if slot:
        parser.add_argument("--slot", type=int, help="which connection, as in `pool show`")


def _slot(options: Options) -> Mapping[str, Any]:
    return {} if options["slot"] is None else {"slot": options["slot"]}


def _nothing(options: Options) -> Mapping[str, Any]:
    return {}


# Removal


def _delete_arguments(parser: CommandParser) -> None:
    _pool_argument(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask first")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and end")


def _delete_account(options: Options, out: Output) -> None:
    account = find_account(options["pool"])
    plan = plan_removal(account)
    if not options["dry_run"]:
        if not options["yes"]:
            out.confirm(" ".join(plan.sentences()))
        plan = remove_account(account, by=f"{getpass.getuser()} on the command line")
    is_removed = not options["dry_run"]
    words = (
        f"{plan.name} is removed. A worker that serves it closes its connections within seconds."
        if is_removed
        else " ".join(["Not removed (--dry-run).", *plan.sentences()])
    )
    out.show({**plan.to_dict(), "removed": is_removed, "message": words}, words)


# Files


def _export_arguments(parser: CommandParser) -> None:
    parser.add_argument("pools", nargs="*", help="ids or names (all)")
    parser.add_argument("--output", type=Path, help="file to write (standard output)")


def _export(options: Options, out: Output) -> None:
    accounts = [find_account(name) for name in options["pools"]] or None
    content, left_out = export(accounts)
    data = msgspec.json.format(msgspec.json.encode(content)).decode()
    for name in left_out:
        sys.stderr.write(f"{name}: its endpoint looks like it holds a credential; left out\n")
    if options["output"] is None:
        out.line(data)
        return
    try:
        options["output"].write_text(data + "\n")
    except OSError as error:
        raise CliError(f"{options['output']} cannot be written: {error.strerror}.") from None
    count = len(content.accounts)
    out.show(
        {"file": str(options["output"]), "accounts": count, "endpoints_left_out": left_out},
        f"{counted(count, 'account')} written to {options['output']}, without credentials.",
    )


def _import_arguments(parser: CommandParser) -> None:
    parser.add_argument("file", help="a file of `pool export`; - reads standard input")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, and end")


def _import(options: Options, out: Output) -> None:
    try:
        plan = plan_import(_read(options["file"]))
    except TransferError as error:
        raise CliError(str(error)) from None
    if not options["dry_run"]:
        apply_import(plan)
    saved = [] if options["dry_run"] else [account for account, _ in plan.rows]
    warnings = list(filter(None, dict.fromkeys(crowding(account) for account in saved)))
    rows = [(what, name) for what, names in plan.to_dict().items() for name in names]
    counts = (
        f"{'Nothing is saved yet' if options['dry_run'] else 'Saved'}: {len(plan.created):,} "
        f"created, {len(plan.changed):,} changed, {len(plan.unchanged):,} unchanged."
    )
    hint = " Enter the credentials of new accounts in the admin." if plan.created else ""
    if plan.ask_again:
        hint += (
            " The credential does not go along to another host, enter it again: "
            f"{', '.join(plan.ask_again)}."
        )
    out.show(
        {
            **plan.to_dict(),
            "ask_again": plan.ask_again,
            "saved": not options["dry_run"],
            "warnings": warnings,
        },
        _with_warnings(
            (f"{table(('', 'ACCOUNT'), rows)}\n\n" if rows else "") + counts + hint, *warnings
        ),
    )


def _read(name: str) -> bytes:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CliError(f"{name} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_FILE_BYTES:
        raise CliError(f"{name} is larger than {MAX_FILE_BYTES:,} bytes.")
    return data


def _prune_arguments(parser: CommandParser) -> None:
    kept = settings.ENV.usage_kept_days
    parser.add_argument("--days", type=int, default=kept, help=f"how much to keep ({kept})")
    parser.add_argument("--dry-run", action="store_true", help="count only")


def _prune(options: Options, out: Output) -> None:
    if options["days"] < 1:
        raise CliError("--days must be at least 1.", Exit.USAGE)
    counts = prune(days=options["days"], dry_run=options["dry_run"])
    done = "would be deleted" if options["dry_run"] else "deleted"
    words = ", ".join(counted(count, name.removesuffix("s")) for name, count in counts.items())
    out.show(
        {**counts, "days": options["days"], "deleted": not options["dry_run"]},
        f"Older than {counted(options['days'], 'day')}: {words} {done}.",
    )


def _requests() -> tuple[Subcommand, ...]:
    verbs = PoolCommand.Verb
    table_of_verbs = (
        (verbs.PAUSE, "close a pool's connections until it is resumed", False),
        (verbs.RESUME, "open them again", False),
        (verbs.RECONNECT, "open one connection again, or all", True),
        (verbs.DRAIN, "move a connection's symbols elsewhere, then close it", True),
        (verbs.REBALANCE, "move symbols onto as few connections as possible", False),
    )
    return tuple(
        Subcommand(
            name=verb.value,
            help=words,
            run=partial(_request, verb, _slot if has_slot else _nothing),
            arguments=partial(_request_arguments, slot=has_slot),
        )
        for verb, words, has_slot in table_of_verbs
    )


CHANGING = (
    Subcommand(
        name="set-limit",
        help="change limits or timings of a pool",
        run=_set_limit,
        arguments=_set_limit_arguments,
    ),
    Subcommand(
        name="set-setting",
        help="change a setting of a pool's broker account, such as its plan",
        run=_set_setting,
        arguments=_set_setting_arguments,
    ),
    *_requests(),
    Subcommand(
        name="export",
        help="write accounts, settings and limits as JSON, without credentials",
        run=_export,
        arguments=_export_arguments,
    ),
    Subcommand(
        name="import",
        help="take over accounts, settings and limits from a file of `pool export`",
        run=_import,
        arguments=_import_arguments,
    ),
    Subcommand(
        name="delete-account",
        help="remove a broker account with everything that is kept of it",
        run=_delete_account,
        arguments=_delete_arguments,
    ),
    Subcommand(name="prune", help="delete old history", run=_prune, arguments=_prune_arguments),
)
