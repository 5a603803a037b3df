"""The plain HTTP answers of a local exchange; each ends its TCP connection."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Response

__all__ = ["json_response", "make_response", "text_response"]


def text_response(status: int) -> Response:
    """Return a response whose body is the status' own phrase."""
    try:
        known = HTTPStatus(status)
    except ValueError:
        raise ValueError(f"status must be an HTTP status that has a name, got {status}") from None
    return make_response(known, f"{known.phrase}\n".encode(), "text/plain")


def json_response(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return ``value`` as JSON."""
    return make_response(status, msgspec.json.encode(value), "application/json")


def make_response(status: HTTPStatus, body: bytes, content_type: str) -> Response:
    """Return a response with a body of a known length."""
    headers = Headers()
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    return Response(status.value, status.phrase, headers, body)
