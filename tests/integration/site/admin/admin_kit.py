"""People, a pool with numbers, and a worker that answers, for tests of the admin."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.utils import timezone

from pooling.models import BrokerAccount, PoolConfig, PoolStatus
from pooling.operations.settings import settings_of
from pooling.store import commands as command_queue

__all__ = ["account_form", "answering", "long_ago", "make_status", "permit", "staff"]


def permit(user: User, *names: str) -> User:
    """Give a user the named permissions; returns the user as Django will see it from now on."""
    for name in names:
        app, codename = name.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return User.objects.get(pk=user.pk)


def staff(name: str, *permissions: str) -> User:
    """Make a member of staff with these permissions."""
    return permit(User.objects.create_user(name, is_staff=True), *permissions)


def make_status(account: BrokerAccount, **values: Any) -> PoolStatus:
    """Store how a pool is: 2,200 symbols of 3 x 1,000 for 3 clients, its worker alive."""
    now = timezone.now()
    slots = {1: 1000, 2: 1000, 3: 200}
    connections = [
        {"slot": slot, "state": "live", "since_ms": 0, "used": used, "capacity": 1000}
        for slot, used in slots.items()
    ]
    return PoolStatus.objects.create(
        **{
            "account": account,
            "owner": "here:1",
            "state": "live",
            "since": now,
            "connections": 3,
            "max_connections": 3,
            "symbols_per_connection": 1000,
            "symbols": 2200,
            "used": 2200,
            "capacity": 3000,
            "clients": 3,
            "applied": now,
            # Alive for as long as a slow test may take; a dead one is made on purpose.
            "heartbeat": now + timedelta(hours=1),
            "stats": {"connections": connections},
            **values,
        }
    )


def long_ago() -> datetime:
    """A heartbeat of a worker that is gone."""
    return timezone.now() - timedelta(hours=1)


def account_form(account: BrokerAccount, **changes: Any) -> dict[str, Any]:
    """Return the account's page as a browser would post it, with ``changes``."""
    config = PoolConfig.objects.filter(account=account).first()
    own: dict[str, Any] = dict.fromkeys(PoolConfig.OPTIONS, "")
    if config is not None:
        own = {name: getattr(config, name) for name in PoolConfig.OPTIONS}
    settings = {
        f"setting_{field.name}": "on" if value is True else value
        for field, value in settings_of(account)
        if value is not False  # a browser leaves out a switch that is off
    }
    return {
        **settings,
        "label": account.label,
        "endpoint": account.endpoint,
        "enabled": "on" if account.enabled else "",
        "config-TOTAL_FORMS": "1",
        "config-INITIAL_FORMS": "1" if config else "0",
        "config-0-id": config.pk if config else "",
        "config-0-account": account.pk,
        **{f"config-0-{name}": "" if value is None else value for name, value in own.items()},
        **changes,
    }


@contextlib.contextmanager
def answering(
    *accounts: BrokerAccount, result: str = "done as asked", is_done: bool = True
) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Play the worker of these pools; yields what it was asked, as (verb, argument)."""
    asked: list[tuple[str, dict[str, Any]]] = []
    is_over = threading.Event()
    ids = {account.pk for account in accounts}

    def work() -> None:
        try:
            while not is_over.wait(0.02):
                for command in command_queue.take("here:1", ids):
                    asked.append((command.verb, command.argument))
                    command_queue.finish(command.pk, is_done=is_done, result=result)
        finally:
            connection.close()

    thread = threading.Thread(target=work, name="played-worker")
    thread.start()
    try:
        yield asked
    finally:
        is_over.set()
        thread.join(10)
