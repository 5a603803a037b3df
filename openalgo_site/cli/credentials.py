"""``pool set-credential`` and ``pool login``: the day's credential, for scripts and by hand."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.urls import reverse

from brokers.exceptions import BrokerConfigError
from brokers.login.contract import LoginKind
from openalgo_site.cli.base import CliError, Exit, Options, Output, Subcommand
from pooling.models import BrokerAccount, LoginAttempt
from pooling.operations import credentials, logins
from pooling.operations.naming import find_account

__all__ = ["CREDENTIALS"]

MAX_LINE = credentials.MAX_VALUE_LENGTH + 2
_SECRET_WORDS = ("token", "secret", "password", "pin", "jwt")


def _set_credential_arguments(parser: CommandParser) -> None:
    parser.add_argument("pool", help="id, or user/broker/label as far as it is unambiguous")
    parser.add_argument(
        "values",
        nargs="+",
        metavar="NAME=VALUE",
        help="'-' as the value reads it from standard input, one line each: others on this machine "
        "can read a command line",
    )
    _wait_argument(parser)


def _wait_argument(parser: CommandParser) -> None:
    seconds = credentials.WAIT_SECONDS
    parser.add_argument(
        "--wait", type=float, default=seconds, metavar="SECONDS", help="for the broker's answer"
    )


def _set_credential(options: Options, out: Output) -> Exit | None:
    account = find_account(options["pool"])
    given = dict(_pair(each) for each in options["values"])
    try:
        credentials.checked(account, dict.fromkeys(given, "x"))  # names first: nothing is read yet
        values = {name: _value(name, text) for name, text in given.items()}
        values = credentials.checked(account, values)
    except (credentials.CredentialError, BrokerConfigError) as error:
        raise CliError(str(error), Exit.USAGE) from None
    entry = credentials.enter(account, values, user=None, wait_seconds=options["wait"])
    out.show(
        {
            "pool": account.pk,
            "stored": sorted(values) if entry.is_stored else [],
            "tried": entry.attempt is not None,
            "message": entry.sentence,
        },
        entry.sentence,
    )
    return None if entry.is_stored else Exit.ERROR


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise CliError("Write NAME=VALUE, or NAME=- to read it from standard input.", Exit.USAGE)
    return name, value


def _value(name: str, text: str) -> str:
    if text != "-":
        if any(word in name for word in _SECRET_WORDS):
            raise CliError(
                f"Others on this machine can read a command line: write {name}=- and give it on "
                "standard input.",
                Exit.USAGE,
            )
        return text
    if sys.stdin is None:
        raise CliError("There is no standard input to read from.", Exit.USAGE)
    return sys.stdin.readline(MAX_LINE)


def _login_arguments(parser: CommandParser) -> None:
    parser.add_argument("pool", help="id, or user/broker/label as far as it is unambiguous")
    parser.add_argument(
        "--code",
        metavar="CODE",
        help="the code that the broker's page sent you back with (request_token, code, auth_code "
        "or tokenId in the address); '-' reads it from standard input",
    )
    _wait_argument(parser)


def _login(options: Options, out: Output) -> Exit | None:
    account = find_account(options["pool"])
    setup = logins.login_setup(account)
    login = setup.login()
    if login is None:
        raise CliError(
            f"{account.broker} has no login: use `pool set-credential`, if it takes one at all."
        )
    if options["code"] is not None:
        code = sys.stdin.readline(MAX_LINE) if options["code"] == "-" else options["code"]
        return _ended(logins.submit_code(account, code.strip(), user=None), options, out)
    kinds = [each for each in login.fields if not logins.missing_fields(setup, each)]
    if LoginKind.UNATTENDED in kinds:
        return _ended(logins.begin_unattended(account, user=None), options, out)
    where = _page(account)
    words = f"Log in on the Brokers page: {where}"
    out.show({"pool": account.pk, "state": "needs a browser", "message": words}, words)
    return Exit.ERROR


def _ended(attempt: LoginAttempt, options: Options, out: Output) -> Exit | None:
    attempt = credentials.wait_for(attempt, options["wait"])
    words = attempt.result or "It is under way; `pool show` tells how it ended."
    shown: dict[str, Any] = {
        "pool": attempt.account_id,
        "state": attempt.state,
        "why": attempt.why,
        "message": words,
    }
    out.show(shown, words)
    return None if attempt.state == "granted" else Exit.ERROR


def _page(account: BrokerAccount) -> str:
    path = f"{reverse('brokers')}#account-{account.pk}"
    public = settings.PUBLIC_URL
    return f"{public.origin}{path}" if public else f"{path} of this site"


CREDENTIALS = (
    Subcommand(
        name="set-credential",
        help="store parts of a pool's credential; it is tried at the broker first where it can be",
        run=_set_credential,
        arguments=_set_credential_arguments,
    ),
    Subcommand(
        name="login",
        help="log in at the broker: with the stored PIN and TOTP, or a code from its page",
        run=_login,
        arguments=_login_arguments,
    ),
)
