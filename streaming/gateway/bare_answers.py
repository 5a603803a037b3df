"""The headers of answers that never came as far as Django, such as to a body that is too large."""

from __future__ import annotations

from typing import Any

from streaming.edge.security import BARE_HEADERS, POLICY
from streaming.gateway.routing import Application, Receive, Scope, Send

__all__ = ["with_security_headers"]

_ADDED = [(name.lower().encode(), value.encode()) for name, value in BARE_HEADERS.items()]
_MARK = POLICY.lower().encode()


def with_security_headers(application: Application) -> Application:
    """Let each answer without a policy say what pages say, and that it is none."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: dict[str, Any]) -> None:
            if message["type"].endswith("http.response.start"):
                headers = list(message.get("headers", ()))
                given = {bytes(name).lower() for name, _ in headers}
                if _MARK not in given:
                    headers += [each for each in _ADDED if each[0] not in given]
                    message = {**message, "headers": headers}
            await send(message)

        await application(scope, receive, send_guarded)

    return guarded
