"""Gives the benchmark's user a list of symbols and a session, as a login would; prints its cookie.

Run as a process of its own with the run's environment, after ``benchmarks.prepare``.
"""

from __future__ import annotations

import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openalgo_site.settings")
django.setup()

from django.contrib.auth import (  # noqa: E402
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
)
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402

from streaming.models import Watchlist  # noqa: E402


def _main(symbols: int) -> None:
    user = User.objects.get(username="bench")
    names = [{"exchange": "NSE", "symbol": f"S{n:05d}"} for n in range(symbols)]
    Watchlist.objects.create(user=user, name="bench", symbols=names)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    print(json.dumps({"name": "sessionid", "value": session.session_key}))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
