"""Accounts, settings and limits as a file, without credentials: to keep, compare and move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction

from brokers.logs.redaction import REDACTOR
from brokers.registry import default_registry
from brokers.settings import changed
from pooling.exceptions import PoolingError
from pooling.models import BrokerAccount, PoolConfig, validate_endpoint
from pooling.operations.describe import accounts_with_status
from pooling.operations.naming import account_name

__all__ = ["Exported", "ImportPlan", "TransferError", "apply_import", "export", "plan_import"]

MAX_ACCOUNTS = 100_000
FORMAT: Literal["tickpool-accounts"] = "tickpool-accounts"
VERSION: Literal[1] = 1

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=150)]
_Settings = Annotated[dict[str, bool | int | float | str], msgspec.Meta(max_length=100)]
_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class TransferError(PoolingError):
    """A file cannot be taken over; the message says which entry, and why. Nothing was changed."""


class ExportedLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits and timings that were set; those that were not are the reader's own defaults."""

    symbols_per_connection: int | None = None
    max_connections: int | None = None
    max_idle_time: float | None = None
    health_check_interval: float | None = None
    acquire_timeout: float | None = None
    warm_connections: int | None = None
    exclusive_reconnect: float | None = None
    exclusive_heartbeat: float | None = None


class ExportedAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account, without its credentials."""

    user: _Name
    broker: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    label: _Label
    enabled: bool = True
    endpoint: Annotated[str, msgspec.Meta(max_length=255)] = ""
    settings: _Settings = {}
    limits: ExportedLimits = ExportedLimits()


class Heading(msgspec.Struct, frozen=True):
    """Head of a file: what it says of itself, whatever else it holds."""

    format: str = ""
    version: int = 0


class Exported(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file."""

    format: Literal["tickpool-accounts"]
    version: Literal[1]
    accounts: Annotated[list[ExportedAccount], msgspec.Meta(max_length=MAX_ACCOUNTS)]


@dataclass(slots=True, kw_only=True)
class ImportPlan:
    """Effects of an import, as names of accounts, and the rows that it would write."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    # Accounts whose stored credential does not go along to another host; among ``changed``.
    ask_again: list[str] = field(default_factory=list)
    rows: list[tuple[BrokerAccount, PoolConfig]] = field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, list[str]]:
        """Return it as it is printed."""
        return {
            "created": self.created,
            "changed": self.changed,
            "unchanged": self.unchanged,
        }


def export(accounts: Sequence[BrokerAccount] | None = None) -> tuple[Exported, list[str]]:
    """Return accounts (None: all) without credentials, and the names of what had to be left out.

    An endpoint that looks as if it carried a credential is left out: the file would carry it on.
    """
    entries, left_out = [], []
    for account in accounts_with_status() if accounts is None else accounts:
        endpoint = account.endpoint
        if REDACTOR.redact(endpoint) != endpoint:
            left_out.append(account_name(account))
            endpoint = ""
        settings = account.broker_settings
        if not isinstance(settings, dict):  # nothing that an import would take
            left_out.append(account_name(account))
            settings = {}
        config = getattr(account, "config", None) or PoolConfig(account=account)
        entries.append(
            ExportedAccount(
                user=account.user.get_username(),
                broker=account.broker,
                label=account.label,
                enabled=account.enabled,
                endpoint=endpoint,
                settings=settings,
                limits=ExportedLimits(**{name: getattr(config, name) for name in config.OPTIONS}),
            )
        )
    return Exported(format=FORMAT, version=VERSION, accounts=entries), left_out


def plan_import(data: bytes) -> ImportPlan:
    """Read and check a whole file against the database; writes nothing.

    Raises:
        TransferError: it is not such a file, or an entry cannot be taken over.
    """
    content = _read(data)
    users = {user.get_username(): user for user in get_user_model().objects.all()}
    missing = sorted({entry.user for entry in content.accounts} - set(users))
    if missing:
        raise TransferError(
            f"There is no user {', '.join(missing[:8])}: create them first "
            "(`python manage.py createsuperuser`, or the admin)."
        )
    known = {account_name(account): account for account in accounts_with_status()}
    plan, seen = ImportPlan(), set()
    for entry in content.accounts:
        name = f"{entry.user}/{entry.broker}/{entry.label}"
        if name in seen:
            raise TransferError(f"{name} stands in the file twice.")
        seen.add(name)
        account = known.get(name)
        is_new = account is None
        if account is None:
            account = BrokerAccount(user=users[entry.user], broker=entry.broker, label=entry.label)
        config = getattr(account, "config", None) or PoolConfig(account=account)
        before = account.destination()
        differs = _take_over(name, entry, account, config)
        if account.credentials and account.destination() != before:
            plan.ask_again.append(name)
        (plan.created if is_new else plan.changed if differs else plan.unchanged).append(name)
        if is_new or differs:
            plan.rows.append((account, config))
    return plan


def apply_import(plan: ImportPlan) -> None:
    """Write a plan, all or nothing.

    Credentials that are stored stay as they are, but for those of ``plan.ask_again``.
    """
    with transaction.atomic():
        for account, config in plan.rows:
            account.save()
            config.account = account
            config.save()


def _read(data: bytes) -> Exported:
    """Read a whole file. Raises TransferError, which says where it is not as it should be."""
    try:
        heading = msgspec.json.decode(data, type=Heading)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransferError(f"This is not a file of `pool export`: {error}.") from None
    if heading.format != FORMAT:
        raise TransferError(
            f'This is not a file of `pool export`: those begin with "format": "{FORMAT}".'
        )
    if heading.version != VERSION:
        raise TransferError(
            f"The file is of version {heading.version}, and this installation reads version "
            f"{VERSION}: export it with the same version of TickPool."
        )
    try:
        return msgspec.json.decode(data, type=Exported)
    except msgspec.ValidationError as error:
        hint = " Credentials are not imported: enter them in the admin."
        raise TransferError(
            f"The file cannot be imported as it is: {error}."
            f"{hint if '`credentials`' in str(error) else ''}"
        ) from None


def _check_endpoint(endpoint: str) -> None:
    try:
        validate_endpoint(endpoint)
    except ValidationError as error:
        raise ValidationError({"endpoint": error.messages}) from None


def _words(error: ValidationError, account: BrokerAccount) -> str:
    """Say which field is wrong and why."""
    fields = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    if "broker" in fields:
        known = ", ".join(default_registry().names())
        fields["broker"] = [f"there is no broker {account.broker}; known are {known}."]
    return " ".join(
        f"{name}: {' '.join(messages)}"
        if name.strip("_") not in ("", "all")
        else " ".join(messages)
        for name, messages in fields.items()
    )


def _take_over(
    name: str, entry: ExportedAccount, account: BrokerAccount, config: PoolConfig
) -> bool:
    """Set an entry's values on the rows and check them; tells whether any differs."""
    limits = msgspec.structs.asdict(entry.limits)
    before = (
        account.enabled,
        account.endpoint,
        account.broker_settings,
        [getattr(config, each) for each in limits],
    )
    account.enabled, account.endpoint = entry.enabled, entry.endpoint
    account.broker_settings = entry.settings
    for field_name, value in limits.items():
        setattr(config, field_name, value)
    try:
        if entry.endpoint:
            _check_endpoint(entry.endpoint)
        account.clean_fields(exclude=["user", "credentials"])
        account.clean()
        account.broker_settings = changed(account.adapter_class().settings)
        config.clean_fields(exclude=["account"])
        config.clean()
    except ValidationError as error:
        raise TransferError(f"{name}: {_words(error, account)}") from None
    return before != (
        entry.enabled,
        entry.endpoint,
        account.broker_settings,
        list(limits.values()),
    )
