"""The page of who is locked out after failed logins, and why, for those who look after users."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin import site
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from openalgo_site.login.login_limits import (
    PER_ADDRESS,
    PER_NAME,
    PER_NAME_AND_ADDRESS,
    LockedBy,
    Lockout,
    login_gate,
)
from streaming.admin.parts import age, badge

__all__ = ["locked_out"]

logger = logging.getLogger("openalgo_site")

MAY_CHANGE_USERS = "auth.change_user"
MOST_ROWS = 100
WHY = {
    LockedBy.NAME_AND_ADDRESS: f"{PER_NAME_AND_ADDRESS} failed logins of this name from there",
    LockedBy.ADDRESS: f"{PER_ADDRESS} failed logins from there, whatever the name",
    LockedBy.NAME: f"{PER_NAME} failed logins of this name, from all addresses together",
    LockedBy.BROWSER: f"{PER_NAME_AND_ADDRESS} failed logins in a browser that is known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A lockout as it is shown."""

    bucket: str
    who: str
    user_url: str | None
    where: str
    is_locked: bool
    state: SafeString
    why: str
    refused: int
    last: SafeString | str


def _locked_out(request: HttpRequest) -> HttpResponse:
    """Show who was refused within the last day, and let somebody in."""
    if not request.user.has_perm(MAY_CHANGE_USERS):
        raise PermissionDenied
    users = dict(get_user_model().objects.values_list("username", "pk"))
    found = login_gate().lockouts(users)
    if request.method == "POST":
        _let_in(request, found, users)
        return redirect("locked-out")
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": "Failed logins",
        "rows": [_row(each, users) for each in found[:MOST_ROWS]],
        "more": max(0, len(found) - MOST_ROWS),
    }
    request.current_app = site.name
    return TemplateResponse(request, "logins/locked_out.html", context)


locked_out = site.admin_view(_locked_out)


def _let_in(request: HttpRequest, found: list[Lockout], users: dict[str, int]) -> None:
    bucket = request.POST.get("bucket", "")
    lockout = next((each for each in found if each.bucket == bucket), None)
    if lockout is None or lockout.until is None or not re.fullmatch(r"[0-9a-f]+", bucket):
        messages.warning(request, "That lockout is over.")
        return
    login_gate().let_in(bucket)
    who, where = _who(lockout), _where(lockout)
    actor: Any = request.user
    logger.info("%s let %s in, %s", actor.get_username(), who, where)
    if lockout.name is not None and lockout.by is not LockedBy.ADDRESS:
        LogEntry.objects.log_actions(
            actor.pk,
            get_user_model().objects.filter(pk=users[lockout.name]),
            CHANGE,
            change_message=f"Let in after failed logins, {where}.",
            single_object=True,
        )
    messages.success(request, f"May try again: {who}, {where}.")


def _row(lockout: Lockout, users: dict[str, int]) -> Row:
    is_locked = lockout.until is not None
    is_user = lockout.name is not None and lockout.by is not LockedBy.ADDRESS
    return Row(
        bucket=lockout.bucket,
        who=_who(lockout),
        user_url=(
            reverse("admin:auth_user_change", args=(users[lockout.name or ""],))
            if is_user
            else None
        ),
        where=_where(lockout),
        is_locked=is_locked,
        state=_state(lockout.until),
        why=f"{WHY[lockout.by]} within a minute",
        refused=lockout.refused,
        last=age(datetime.fromtimestamp(lockout.last, UTC)),
    )


def _state(until: float | None) -> SafeString:
    if until is None:
        return badge("off", "over")
    seconds = max(1, round(until - timezone.now().timestamp()))
    return badge("bad", f"locked out for {seconds} s")


def _who(lockout: Lockout) -> str:
    if lockout.by is LockedBy.ADDRESS:
        return "everybody"
    return lockout.name or "a name that nobody has"


def _where(lockout: Lockout) -> str:
    if lockout.by is LockedBy.NAME:
        return "from anywhere"
    return f"from {lockout.address or 'an unknown address'}"
