"""The Content-Security-Policy of every page: our own files, our own sockets, nothing else.

Scripts and styles are files, never inline, so an injected element has nothing to run. The socket's
origin is named beside ``'self'`` because older browsers do not take ``'self'`` to mean ``ws:``.
"""

from __future__ import annotations

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

__all__ = ["ContentSecurityPolicyMiddleware", "content_security_policy"]

HEADER = "Content-Security-Policy"


def content_security_policy(host: str | None) -> str:
    """Return the policy for pages served as ``host`` (with its port); None for an unknown host."""
    sockets = f" ws://{host} wss://{host}" if host else ""
    return "; ".join(
        (
            "default-src 'self'",
            f"connect-src 'self'{sockets}",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """Add the policy to every response that has none of its own. Works sync and async."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Set the header; a request for a host that is not ours gets the policy without sockets."""
        try:
            host = request.get_host()
        except DisallowedHost:
            host = None
        response.headers.setdefault(HEADER, content_security_policy(host))
        return response
