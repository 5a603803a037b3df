"""Headers of every answer to browsers: our own files, our own sockets, nothing else, for us alone.

Scripts and styles are files, never inline, so an injected element has nothing to run. The socket's
origin is named beside ``'self'`` because older browsers do not take ``'self'`` to mean ``ws:``.
"""

from __future__ import annotations

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

__all__ = ["BARE_HEADERS", "POLICY", "SecurityHeadersMiddleware", "content_security_policy"]

POLICY = "Content-Security-Policy"
# Of what a page could ask a browser for, what no page of ours ever does.
_UNUSED = (
    "accelerometer", "camera", "display-capture", "encrypted-media", "geolocation", "gyroscope",
    "magnetometer", "microphone", "midi", "payment", "publickey-credentials-get",
    "screen-wake-lock", "usb", "xr-spatial-tracking",
)  # fmt: skip
HEADERS = {
    "Permissions-Policy": ", ".join(f"{each}=()" for each in _UNUSED),
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Of an answer that is no page: it needs nothing at all. Django sets the last four on its own.
BARE_HEADERS = {
    POLICY: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    **HEADERS,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def content_security_policy(host: str | None, *, is_secure: bool = False) -> str:
    """Return the policy for pages served as ``host`` (with its port); None for an unknown host.

    Over TLS no socket in clear may be opened.
    """
    sockets = "".join(f" {each}://{host}" for each in (("wss",) if is_secure else ("ws", "wss")))
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "font-src 'self'",
            f"connect-src 'self'{sockets if host else ''}",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class SecurityHeadersMiddleware(MiddlewareMixin):
    """Add the headers to every response that has none of its own. Works sync and async.

    An answer that does not say otherwise, such as an error page with the user's name on it, is kept
    by nobody.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Set them; a request for a host that is not ours gets the policy without sockets."""
        try:
            host = request.get_host()
        except DisallowedHost:
            host = None
        policy = content_security_policy(host, is_secure=request.is_secure())
        response.headers.setdefault(POLICY, policy)
        response.headers.setdefault("Cache-Control", "no-store")
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response
