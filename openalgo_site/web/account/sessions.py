"""Sessions of one user: all but the present one end. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone

from openalgo_site.adapters.notices import principal_changed

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["end_other_sessions"]

_PORTION = 500


def end_other_sessions(user: User, kept: str | None) -> int:
    """End the sessions of ``user`` but the one of that key; returns how many there were.

    A session does not tell in its row whose it is, so all that have not ended are looked through.
    Gateways are told, so that the sockets of those sessions are closed.
    """
    theirs = [
        session.session_key
        for session in Session.objects.filter(expire_date__gt=timezone.now()).iterator(_PORTION)
        if session.session_key != kept and session.get_decoded().get(SESSION_KEY) == str(user.pk)
    ]
    for start in range(0, len(theirs), _PORTION):
        Session.objects.filter(session_key__in=theirs[start : start + _PORTION]).delete()
    if theirs:
        principal_changed(user.pk)
    return len(theirs)
