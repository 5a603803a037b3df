"""Answers where no view answers: JSON below ``/api/``, a page everywhere else."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views import defaults
from django.views.csrf import csrf_failure

from brokers.words import named_error
from openalgo_site.web.api_access import json_response
from streaming.gateway.refused_origins import REFUSED_ORIGINS
from streaming.tables import NOT_MIGRATED, lacks_tables

__all__ = ["bad_request", "csrf_refused", "forbidden", "not_found", "server_error"]

logger = logging.getLogger("openalgo_site")

API_PREFIX = "/api/"
RETRY_AFTER = {"Retry-After": "5", "Cache-Control": "no-store"}
DATABASE_AWAY = "The database does not answer now. Try again in a few seconds."
FAILED = "The server failed. It has been written to its log."
LOG_SECONDS = 60.0
# When a failure of the database was logged last; two threads at once cost a second line.
_LOGGED: dict[str, float] = {}
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400, such as for a ``Host`` that is none of the site's."""
    return _answer(request, 400, "The request cannot be read.", defaults.bad_request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    words = "This is not yours to do."
    return _answer(request, 403, words, defaults.permission_denied, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    words = f"Nothing is at {request.path[:200]}: see the README for what the API has."
    return _answer(request, 404, words, defaults.page_not_found, exception)


def csrf_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403 to a form that did not come from a page of the site."""
    origin = request.headers.get("Origin")
    if origin is not None and reason.startswith("Origin checking failed"):
        REFUSED_ORIGINS.note("a form", origin, request.headers.get("Host", ""))
    words = f"{reason or 'The CSRF token is missing.'} Programs send an API key in X-API-KEY."
    return _answer(request, 403, words, csrf_failure, reason)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 503 while the database is busy, away or not migrated, otherwise 500.

    Django calls it while it handles the exception.
    """
    error = sys.exception()
    is_migrated = error is None or not lacks_tables(error)
    if isinstance(error, OperationalError | InterfaceError) or not is_migrated:
        _log(error, is_migrated=is_migrated)
        words = DATABASE_AWAY if is_migrated else f"{NOT_MIGRATED[0].upper()}{NOT_MIGRATED[1:]}."
        page = partial(_database_away, is_migrated=is_migrated)
        response = _answer(request, 503, words, page, headers=RETRY_AFTER)
        # Django would log a traceback for each request.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response
    return _answer(request, 500, FAILED, defaults.server_error)


def _log(error: BaseException | None, *, is_migrated: bool) -> None:
    now = time.monotonic()
    if now - _LOGGED.get("at", float("-inf")) >= LOG_SECONDS:
        _LOGGED["at"] = now
        if is_migrated:
            what = "requests fail, as the database does (%s)"
            logger.error(what, None if error is None else named_error(error))
        else:
            logger.error("requests fail, as %s", NOT_MIGRATED)


def _database_away(request: HttpRequest, *, is_migrated: bool) -> HttpResponse:
    page = render_to_string("503.html", {"is_migrated": is_migrated})
    return HttpResponse(page, status=503, headers=RETRY_AFTER)


def _answer(
    request: HttpRequest,
    status: int,
    words: str,
    page: Callable[..., HttpResponse],
    *arguments: Any,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> HttpResponse:
    if not request.path.startswith(API_PREFIX):
        return page(request, *arguments)
    response = json_response({"status": "error", "message": words}, status)
    for name, value in headers.items():
        response.headers[name] = value
    return response
