"""The keys of the credentials, and what may be known of credentials without opening one."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from brokers.times.moments import moment_text
from brokers.words import counted
from openalgo_site.doctor.findings import Finding, failed, fine, warned
from openalgo_site.login.demo_user import DEMO_USER_LEFT, MENDS, has_demo_user, is_for_others
from pooling import conf
from pooling.keys.crypto import SYMMETRIC, key_of, load_sealer
from pooling.keys.files import KeyFileError, public_file
from pooling.keys.opening import CredentialOpener
from pooling.models import BrokerAccount, LoginSetup
from pooling.operations.crowding import crowding
from pooling.operations.naming import account_name
from pooling.operations.pool_state import PoolState
from pooling.operations.sealing import rows_left

__all__ = ["credentials", "demo_user", "key_file"]

SEAL = "run `python manage.py sealcredentials`"


def key_file() -> Iterator[Finding]:
    """Check whether both halves of the credentials' keys are there, usable, and belong together."""
    name, path = "key file", conf.key_file()
    try:
        sealer = load_sealer(path)
        opener = _opener(path)
        wrong = opener.mismatch(path, sealer.key_id) if opener is not None else None
    except KeyFileError as error:
        wrong = str(error)
    if wrong:
        what, _, mends = wrong.partition(": ")
        yield failed(name, what, mends)
    elif opener is None:
        yield warned(
            name,
            f"{path} is missing, so no worker can run here: {public_file(path).name} is enough for "
            "a gateway with a DATA_DIR of its own",
            f"restore {path} where a worker is to run",
        )
    elif sealer.key_id == SYMMETRIC:
        yield warned(
            name, f"every process that may store credentials can read them with {path}", SEAL
        )
    else:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield fine(name, f"{path} has mode {mode:04o}; key {sealer.key_id} seals")


def demo_user() -> Iterator[Finding]:
    """Check whether others than this machine may log in as the user that a demo has made."""
    name = "demo user"
    if not has_demo_user():
        yield fine(name, "no demo has left its user here")
    elif is_for_others(settings.ENV.host):
        yield failed(name, f"{DEMO_USER_LEFT}, and others may reach it", MENDS)
    else:
        yield fine(name, "the demo's user is here, for this machine only")


def credentials() -> Iterator[Finding]:
    """Check whether each stored credential has its key, and is complete and in force."""
    name, path = "credentials", conf.key_file()
    sealer, opener, good = load_sealer(path), _opener(path), 0
    for account in BrokerAccount.objects.select_related("user").order_by("pk").iterator():
        found = _credential(account, opener)
        if found is not None:
            yield found
        elif account.enabled:
            good += 1
    yield from _login_secrets(opener)
    known = (SYMMETRIC, *(opener.key_ids if opener is not None else ()))
    if sealer.key_id != SYMMETRIC and (left := rows_left(sealer.key_id, known)):
        rows = f"{left} row{'' if left == 1 else 's'}"
        yield warned(name, f"{rows} with other keys than {sealer.key_id}, the one in use", SEAL)
    told: set[str] = set()
    for account in BrokerAccount.objects.filter(enabled=True).select_related("user", "config"):
        if (warning := crowding(account)) is not None and warning not in told:
            told.add(warning)
            what, _, mends = warning.rpartition(". Lower ")
            yield warned(name, what, f"lower {mends}")
    yield fine(
        name, f"those of {counted(good, 'enabled account')} are complete, and their keys are there"
    )


def _credential(account: BrokerAccount, opener: CredentialOpener | None) -> Finding | None:
    """Return what is wrong with an account's credential; None: nothing, as far as can be known."""
    name, pool = "credentials", account_name(account)
    try:
        tokens = dict(account.credentials)
        lack = account.adapter_class().credential_lack([each for each in tokens if tokens[each]])
    except BrokerConfigError as error:
        what, _, mends = str(error).partition(": ")
        return failed(name, f"{pool}: {what}", mends or f"see the account {pool} in the admin")
    except Exception as error:
        # Supervision point: what is stored of one account must not hide the others.
        what = f"what is stored of it makes no sense ({type(error).__name__})"
        return failed(name, f"{pool}: {what}", f"see the account {pool} in the admin")
    if unknown := _unknown(tokens, opener):
        what = f"{pool}: it was encrypted with {unknown}, which is not in the key file"
        return failed(name, what, "restore the key or enter the credential again")
    if not account.enabled:
        return None
    if lack:
        return warned(
            name,
            f"{pool}: {PoolState.LOGIN_NEEDED}: {lack}",
            "log in on the Brokers page, or enter it there",
        )
    expires = account.credentials_expire
    if expires is not None and expires <= timezone.now():
        return warned(
            name,
            f"{pool}: {PoolState.LOGIN_NEEDED}: the stored credential ended at "
            f"{moment_text(timezone.localtime(expires))}",
            "log in on the Brokers page",
        )
    return None


def _login_secrets(opener: CredentialOpener | None) -> Iterator[Finding]:
    """Yield the logins whose secrets nobody can open."""
    for setup in LoginSetup.objects.select_related("account__user").order_by("pk"):
        if unknown := _unknown(setup.secrets, opener):
            yield failed(
                "credentials",
                f"{account_name(setup.account)}: the secrets of its login were encrypted with "
                f"{unknown}, which is not in the key file",
                "restore the key or enter them again on the Brokers page (Login settings)",
            )


def _unknown(tokens: Mapping[str, str], opener: CredentialOpener | None) -> str:
    """Return the keys of tokens that are not in the key file, in words; "" where all are."""
    if opener is None:
        return ""
    unknown = {key_of(token) for token in tokens.values() if not opener.knows(token)}
    return ", ".join(f"key {each}" if each else "a symmetric key" for each in sorted(unknown))


def _opener(path: Path) -> CredentialOpener | None:
    return CredentialOpener.from_file(path) if path.exists() else None
