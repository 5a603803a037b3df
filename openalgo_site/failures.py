"""What a request is answered whose view failed; that the database is away is told as such."""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.defaults import server_error as plain_server_error

__all__ = ["server_error"]

RETRY_AFTER = {"Retry-After": "5", "Cache-Control": "no-store"}
DATABASE_AWAY = "The database does not answer now. Try again in a few seconds."
FAILED = "The server failed. It has been written to its log."


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 503 while the database is busy or away, otherwise 500; JSON below ``/api/``.

    Django calls it while it handles the exception.
    """
    is_away = isinstance(sys.exception(), OperationalError | InterfaceError)
    if "/api/" in request.path[:64]:
        content = {"status": "error", "message": DATABASE_AWAY if is_away else FAILED}
        status, headers = (503, RETRY_AFTER) if is_away else (500, {})
        return JsonResponse(content, status=status, headers=headers)
    if is_away:
        return HttpResponse(render_to_string("503.html"), status=503, headers=RETRY_AFTER)
    return plain_server_error(request)
