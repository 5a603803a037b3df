"""Callers of the JSON API: a session or an API key, and how refusals look."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from brokers.words import counted
from openalgo_site.adapters.key_uses import KEY_USES
from openalgo_site.turns.visitors import VISITORS
from openalgo_site.web.api_shares import ApiShares, OverShareError
from openalgo_site.web.idle_connections import give_back
from streaming.edge_limits import EdgeLimits
from streaming.exceptions import KeyEndedError
from streaming.models import ApiKey
from streaming.scopes import Scope, refusal
from streaming.wrong_keys import WrongKeys

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["API_SHARES", "ApiError", "KeyGate", "api_view", "json_body", "json_response"]

T = TypeVar("T")

MAX_KEY_LENGTH = 256


class ApiError(Exception):
    """A request is refused; ``parameter`` names what is wrong with it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        parameter: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.parameter = parameter
        self.headers = headers or {}


class KeyGate:
    """Finds the owner of an API key; bounds failures by address. Safe from any thread.

    A valid key always passes, however often its address failed before.
    """

    def __init__(self, *, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._wrong = WrongKeys(per_minute=per_minute, clock=clock)

    def user_of(self, plaintext: str, address: str, needed: Scope) -> User:
        """Return whose key it is.

        Raises:
            ApiError: 401 for none that is valid, 429 after too many of those, 403 for one that may
                not be used for what is ``needed``.
        """
        text = plaintext[:MAX_KEY_LENGTH]
        try:
            key = None if self._wrong.was_refused(text) else ApiKey.objects.find(plaintext)
        except KeyEndedError as ended:
            raise ApiError(401, str(ended)) from None
        if key is not None:
            KEY_USES.note(key.pk)
            VISITORS.note_key(plaintext, key.user_id)
            if needed not in key.scope:
                raise ApiError(403, refusal(needed, key.scope))
            return key.user
        if seconds := self._wrong.refuse(text, address):
            raise ApiError(
                429,
                f"Too many wrong API keys from this address; wait {counted(seconds, 'second')}.",
                headers={"Retry-After": str(seconds)},
            )
        raise ApiError(401, "Invalid API key.")


KEY_GATE = KeyGate(per_minute=EdgeLimits().auth_failures_per_minute)
API_SHARES = ApiShares(
    limits=EdgeLimits(**getattr(settings, "GATEWAY_LIMITS", {})), on_wait=give_back
)


def api_view(
    *methods: str, scope: Scope | None, sessions: bool = True, cost: float = 1.0
) -> Callable[[Callable[..., Any]], Callable[..., HttpResponseBase]]:
    """Make a JSON view of a function that takes the request, its user and the URL's arguments.

    It returns plain values, or a response of its own such as a file, or raises ApiError.

    Args:
        methods: the HTTP methods that it answers.
        scope: what an API key needs to open it, too; None: only a session does.
        sessions: whether a session opens it.
        cost: how many look-ups an answer takes, about; see ``openalgo_site/web/api_shares.py``.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
        @wraps(function)
        def view(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
            try:
                if request.method not in methods:
                    allow = {"Allow": ", ".join(methods)}
                    raise ApiError(405, f"Use {' or '.join(methods)} here.", headers=allow)
                user = _user(request, scope, sessions)
                with API_SHARES.taken(user.pk, cost):
                    answer = function(request, user, **arguments)
                    is_whole = isinstance(answer, HttpResponseBase)
                    response: HttpResponseBase = answer if is_whole else json_response(answer)
            except ApiError as error:
                return _refusal(error)
            except OverShareError as over:
                again = {"Retry-After": str(over.retry_after)}
                return _refusal(ApiError(429, str(over), headers=again))
            return response

        return cast(Callable[..., HttpResponseBase], view)

    return decorate


def json_body(request: HttpRequest, wanted: type[T], *, shape: str, parameter: str) -> T:
    """Return what a request's body says; how large it may be is in ``openalgo_site/web/bodies.py``.

    Raises:
        ApiError: 400 with ``shape`` for one that is none.
    """
    try:
        return msgspec.json.decode(request.body, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ApiError(400, shape, parameter=parameter) from None


def json_response(content: Any, status: int = 200) -> HttpResponse:
    """Return ``content`` as JSON that nobody keeps."""
    return HttpResponse(
        msgspec.json.encode(content),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _user(request: HttpRequest, scope: Scope | None, sessions: bool) -> User:
    key = request.headers.get("X-API-KEY", "")
    if key and scope is not None:
        return KEY_GATE.user_of(key, request.META.get("REMOTE_ADDR", ""), scope)
    if sessions and request.user.is_authenticated:
        return request.user
    if not sessions:
        raise ApiError(401, "Send an API key in the header X-API-KEY.")
    raise ApiError(
        401, "Log in, or send an API key in the header X-API-KEY." if scope else "Log in."
    )


def _refusal(error: ApiError) -> HttpResponse:
    content = {"status": "error", "message": error.message}
    if error.parameter is not None:
        content["parameter"] = error.parameter
    response = json_response(content, error.status)
    for name, value in error.headers.items():
        response.headers[name] = value
    return response
