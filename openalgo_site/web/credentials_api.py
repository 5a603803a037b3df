"""Storing a broker's credential from a program, such as the access token of the day.

By API key only, so that no page of another site can make a browser do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from brokers.exceptions import BrokerConfigError
from openalgo_site.web.api_access import ApiError, api_view, json_body
from pooling import conf
from pooling.keys.crypto import load_sealer
from pooling.keys.files import KeyFileError
from pooling.models import BrokerAccount
from streaming.scopes import Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["credentials", "urlpatterns"]

CHANGE_ACCOUNTS = "pooling.change_brokeraccount"
MAX_VALUE_LENGTH = 1024
SHAPE = 'Send {"credentials": {NAME: VALUE, …}}, both of them text.'


class _Credentials(msgspec.Struct, forbid_unknown_fields=True):
    credentials: dict[str, str]


@csrf_exempt
@api_view("PUT", scope=Scope.SET_CREDENTIALS, sessions=False)
def credentials(request: HttpRequest, user: User, account_id: int) -> dict[str, Any]:
    """Store parts of an account's credential; those that are not named stay.

    For the account's owner, and for whoever may change accounts. The answer names what was stored,
    and never what it is.
    """
    values = json_body(request, _Credentials, shape=SHAPE, parameter="credentials").credentials
    try:
        sealer = load_sealer(conf.key_file())
    except KeyFileError as error:
        raise ApiError(503, str(error)) from None
    with transaction.atomic():
        account = _accounts(user).select_for_update().filter(pk=account_id).first()
        if account is None:
            raise ApiError(404, "There is no such pool, or its credentials are not yours to set.")
        values = _checked(account, values)
        account.set_credentials(values, sealer)
        account.save(update_fields=BrokerAccount.CREDENTIAL_COLUMNS)
        LogEntry.objects.log_actions(
            user.pk,
            [account],
            CHANGE,
            change_message=f"Set by an API key: {', '.join(sorted(values))}.",
            single_object=True,
        )
    expires = account.credentials_expire
    return {
        "status": "success",
        "pool_id": account.pool_id,
        "stored": sorted(values),
        "expires": None if expires is None else timezone.localtime(expires).isoformat(),
    }


def _accounts(user: User) -> QuerySet[BrokerAccount]:
    accounts = BrokerAccount.objects.all()
    return accounts if user.has_perm(CHANGE_ACCOUNTS) else accounts.filter(user=user)


def _checked(account: BrokerAccount, values: Mapping[str, str]) -> dict[str, str]:
    """Return the values without spaces around them. Raises ApiError."""
    try:
        known = {each.name for each in account.capabilities().credential_fields}
    except BrokerConfigError as error:
        raise ApiError(409, str(error)) from None
    if not known:
        raise ApiError(400, f"{account.broker} takes no credential.", parameter="credentials")
    names = ", ".join(sorted(known))
    if not values or not values.keys() <= known:
        words = f"The credential of {account.broker} has these parts: {names}."
        raise ApiError(400, words, parameter="credentials")
    stripped = {name: value.strip() for name, value in values.items()}
    for name, value in stripped.items():
        if not 0 < len(value) <= MAX_VALUE_LENGTH or "\x00" in value:
            words = f"{name} is text of 1 to {MAX_VALUE_LENGTH:,} characters."
            raise ApiError(400, words, parameter=name)
    return stripped


urlpatterns = [path("pools/<int:account_id>/credentials", credentials, name="api-credentials")]
