"""Storing a broker's credential from a program, such as the access token of the day.

By API key only, so that no page of another site can make a browser do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from brokers.exceptions import BrokerConfigError
from openalgo_site.web.api_access import ApiError, api_view, json_body
from pooling.exceptions import CommandRefusedError
from pooling.models import BrokerAccount
from pooling.operations.credentials import CredentialError, checked, enter
from streaming.scopes import Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["credentials", "urlpatterns"]

CHANGE_ACCOUNTS = "pooling.change_brokeraccount"
SHAPE = 'Send {"credentials": {NAME: VALUE, …}}, both of them text.'


class _Credentials(msgspec.Struct, forbid_unknown_fields=True):
    credentials: dict[str, str]


@csrf_exempt
@api_view("PUT", scope=Scope.SET_CREDENTIALS, sessions=False)
def credentials(request: HttpRequest, user: User, account_id: int) -> dict[str, Any]:
    """Store parts of an account's credential; those that are not named stay.

    For the account's owner, and for whoever may change accounts. Where a worker can ask the broker,
    a credential is tried first, and one that is refused (409) replaces nothing. The answer names
    what was stored, and never what it is.
    """
    given = json_body(request, _Credentials, shape=SHAPE, parameter="credentials").credentials
    account = _accounts(user).filter(pk=account_id).first()
    if account is None:
        raise ApiError(404, "There is no such pool, or its credentials are not yours to set.")
    try:
        values = checked(account, given)
        entry = enter(account, values, user=user)
    except CredentialError as error:
        raise ApiError(400, str(error), parameter=error.name or "credentials") from None
    except BrokerConfigError as error:
        raise ApiError(409, str(error)) from None
    except CommandRefusedError as error:
        raise ApiError(503, str(error)) from None
    if not entry.is_stored:
        is_open = entry.attempt is not None and entry.attempt.is_open
        raise ApiError(504 if is_open else 409, entry.sentence, parameter="credentials")
    LogEntry.objects.log_actions(
        user.pk,
        [account],
        CHANGE,
        change_message=f"Set by an API key: {', '.join(sorted(values))}.",
        single_object=True,
    )
    account.refresh_from_db()
    expires = account.credentials_expire
    return {
        "status": "success",
        "pool_id": account.pool_id,
        "stored": sorted(values),
        "tried": entry.attempt is not None,
        "expires": None if expires is None else timezone.localtime(expires).isoformat(),
    }


def _accounts(user: User) -> QuerySet[BrokerAccount]:
    accounts = BrokerAccount.objects.all()
    return accounts if user.has_perm(CHANGE_ACCOUNTS) else accounts.filter(user=user)


urlpatterns = [path("pools/<int:account_id>/credentials", credentials, name="api-credentials")]
