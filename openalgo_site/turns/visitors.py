"""The user whose request it is, as far as this process knows without asking anybody.

A session or key that opened a door here a while ago is its user's; every other request counts by
its address. What is learned here bounds who waits behind whom, and never lets anybody in.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponseBase, parse_cookie
from django.utils.deprecation import MiddlewareMixin

from openalgo_site.turns.requests import Visitor
from streaming.addresses import address_group
from streaming.gateway.routing import Scope

__all__ = ["KNOWN_BY", "VISITORS", "Visitors", "VisitorsMiddleware", "address_of", "cookies_of"]

# Key of a scope under which whoever passed it on says as whom it knows the visitor.
KNOWN_BY = "tickpool.visitor"

_MOST = 10_000
_KEY_CHARS = 256
_ERROR = 400


class Visitors:
    """Users by what they show, as digests; those shown longest ago are forgotten. Thread-safe.

    Sessions and API keys of a user count apart: its programs do not keep its pages waiting. What
    nobody knows never counts for more than its address: whoever invents it gains nothing, and what
    is shown from several addresses counts by the first, as a session does that nobody has looked
    up yet.
    """

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._salt = os.urandom(16)
        self._lock = threading.Lock()
        # Guarded by the lock, as are the addresses from which unknown ones were shown first.
        self._users: OrderedDict[bytes, int] = OrderedDict()
        self._addresses: OrderedDict[bytes, str] = OrderedDict()

    def note_session(self, session_key: str, user_id: int) -> None:
        """Learn whose session it is: it was looked up."""
        self._note(self._digest("session", session_key), user_id)

    def note_key(self, api_key: str, user_id: int) -> None:
        """Learn whose API key it is: it was looked up."""
        self._note(self._digest("key", api_key), user_id)

    def of(self, scope: Scope) -> Visitor:
        """Return whose request it is."""
        headers = scope["headers"]
        key = next((value for name, value in headers if name == b"x-api-key"), b"")
        shown = {
            "key": key.decode("latin-1"),
            "session": cookies_of(scope).get(settings.SESSION_COOKIE_NAME, ""),
        }
        digests = {kind: self._digest(kind, text) for kind, text in shown.items() if text}
        with self._lock:
            for kind, digest in digests.items():
                if (user_id := self._users.get(digest)) is not None:
                    self._users.move_to_end(digest)
                    return Visitor((kind, user_id), is_known=True)
            address = address_of(scope)
            if KNOWN_BY in scope:
                known: Visitor = scope[KNOWN_BY]
                return known
            for digest in digests.values():
                address = self._first_address(digest, address)
        return Visitor(("address", address), is_known=False)

    def _first_address(self, digest: bytes, address: str) -> str:
        first = self._addresses.setdefault(digest, address)
        self._addresses.move_to_end(digest)
        if len(self._addresses) > self._most:
            self._addresses.popitem(last=False)
        return first

    def _note(self, digest: bytes, user_id: int) -> None:
        with self._lock:
            self._users[digest] = user_id
            self._users.move_to_end(digest)
            if len(self._users) > self._most:
                self._users.popitem(last=False)

    def _digest(self, kind: str, shown: str) -> bytes:
        text = f"{kind}/{shown[:_KEY_CHARS]}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._salt, digest_size=16).digest()


# Of this process.
VISITORS = Visitors()


class VisitorsMiddleware(MiddlewareMixin):
    """Learns whose session it was. It stands outside of the sessions'. Works sync and async."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Return the response as it is."""
        session = getattr(request, "session", None)
        # One that nobody looked at is not looked up for this.
        if session is None or not session.accessed or response.status_code >= _ERROR:
            return response
        loaded = getattr(session, "_session_cache", {})
        user_id = loaded.get(SESSION_KEY)
        if user_id is not None and session.session_key:
            VISITORS.note_session(session.session_key, int(user_id))
        return response


def address_of(scope: Scope) -> str:
    """Return what the client's address counts as."""
    client = scope.get("client")
    return address_group(client[0]) if client else "unknown"


def cookies_of(scope: Scope) -> dict[str, str]:
    """Return the cookies of a request that Django has not seen yet."""
    text = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    return parse_cookie(text.decode("latin-1")) if text else {}
