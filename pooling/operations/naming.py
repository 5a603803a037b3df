"""Names by which people mean a broker account: by its number, or as ``user/broker/label``."""

from __future__ import annotations

import difflib

from pooling.exceptions import PoolingError
from pooling.models import BrokerAccount

__all__ = ["AccountNameError", "account_name", "find_account"]

MAX_CANDIDATES = 8
COMPARED = 2_000  # accounts that an unknown name is compared with


class AccountNameError(PoolingError):
    """No account has this name, or several have; the message names the candidates."""


def account_name(account: BrokerAccount) -> str:
    """Return ``user/broker/label``. Reads the account's user."""
    return f"{account.user.get_username()}/{account.broker}/{account.label}"


def find_account(name: str) -> BrokerAccount:
    """Return the account with that id, or of that ``user``, ``user/broker``, ``user/broker/label``.

    Raises:
        AccountNameError: none, or more than one, is meant.
    """
    accounts = BrokerAccount.objects.select_related("user", "config", "status").order_by("pk")
    if name.isascii() and name.isdigit():
        found = list(accounts.filter(pk=int(name[:18])))
    else:
        fields = ("user__username", "broker", "label")
        wanted = dict(zip(fields, name.split("/", 2), strict=False))
        found = list(accounts.filter(**wanted)[: MAX_CANDIDATES + 1])
    if len(found) == 1:
        return found[0]
    if found:
        raise AccountNameError(f"{name!r} may mean {_named(found)}: name one of them, or its id.")
    raise AccountNameError(_unknown(name))


def _unknown(name: str) -> str:
    accounts = list(
        BrokerAccount.objects.select_related("user").order_by("pk").only(
            "user__username", "broker", "label"
        )[:COMPARED]
    )  # fmt: skip
    if not accounts:
        return "There is no broker account yet: add one on the Brokers page, or with `pool import`."
    names = {account_name(account): account for account in accounts}
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    listed = [names[each] for each in close] or accounts
    return f"There is no account {name!r}. There is {_named(listed)}."


def _named(accounts: list[BrokerAccount]) -> str:
    shown = [f"{account_name(each)} (id {each.pk})" for each in accounts[:MAX_CANDIDATES]]
    more = ", …" if len(accounts) > MAX_CANDIDATES else ""
    if len(shown) == 1:
        return shown[0] + more
    return f"{', '.join(shown[:-1])} and {shown[-1]}{more}"
