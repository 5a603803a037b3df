"""Requests that came in clear to a site that is public with TLS."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.utils.deprecation import MiddlewareMixin

from openalgo_site.config.public_url import InClear, answer_in_clear
from openalgo_site.web.api_access import json_response

__all__ = ["ClearTextMiddleware"]


class ClearTextMiddleware(MiddlewareMixin):
    """Lead pages to ``PUBLIC_URL``, refuse the API, serve this machine. Works sync and async."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Answer, or let pass what came with TLS or may come without."""
        public = settings.PUBLIC_URL
        if public is None or not public.is_secure or request.is_secure():
            return None
        address = request.META.get("REMOTE_ADDR", "")
        proto = request.headers.get("X-Forwarded-Proto")
        match answer_in_clear(request.path, address, proto):
            case InClear.SERVE:
                return None
            case InClear.MOVE:
                return HttpResponsePermanentRedirect(public.origin + request.get_full_path())
            case InClear.REFUSE:
                words = f"This API is at {public.origin} only. The request came without TLS"
                if "X-API-KEY" in request.headers:
                    words += ", so others could read its API key: make a new one"
                return json_response({"status": "error", "message": f"{words}."}, 403)
