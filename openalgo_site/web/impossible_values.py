"""Answers of the admin to an address or a form with a value that no database can have.

Django looks at the values of a list's filters before it asks the database, and not at how large a
number is or whether there is such a year: ``?account__exact=`` with thirty digits fails at the
query, ``?started__year=10000`` where it is put together. No failure of ours: whoever edited the
address is told, and sees the list without it.
"""

from __future__ import annotations

import logging

from django.contrib import messages
from django.contrib.admin.views.main import ERROR_FLAG
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin

from brokers.words import named_error

__all__ = ["NOT_CHOSEN", "NOT_FILTERED", "ImpossibleValuesMiddleware"]

logger = logging.getLogger("openalgo_site")

NOT_FILTERED = "The address asked for a value that nothing can have. Here is the list without it."
NOT_CHOSEN = "Nothing was done: what was chosen is not in this list."


class ImpossibleValuesMiddleware(MiddlewareMixin):
    """Leads back to the list. Works sync and async; only for the admin, behind its login.

    One that fails without any filter is left to fail: then it was not the value.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer with a redirect, or leave the exception to others."""
        is_range = isinstance(exception, OverflowError | DataError)
        if not is_range and not isinstance(exception, ValueError):
            return None
        if not request.path.startswith(reverse("admin:index")) or ERROR_FLAG in request.GET:
            return None
        if request.method == "GET" and request.GET:
            words = NOT_FILTERED
        elif request.method == "POST" and is_range:
            words = NOT_CHOSEN
        else:
            return None
        # A mistake of ours may look alike, unless it is a number out of the database's range.
        logger.warning(
            "the admin could not use the values sent to %s: %s",
            request.path[:200],
            named_error(exception),
            exc_info=None if is_range else exception,
        )
        messages.warning(request, words)
        return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
