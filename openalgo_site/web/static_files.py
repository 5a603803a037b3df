"""Serves scripts, styles and images in the gateway, without a loop's thread or memory at stake.

WhiteNoise answers with an open file. Under ASGI Django reads such an answer to its end before the
first byte leaves, and warns of it; here it leaves in portions, each read in the request's thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import BinaryIO

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpRequest
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

__all__ = ["PORTION_BYTES", "StaticFilesMiddleware", "portions"]

PORTION_BYTES = 64 * 1024


async def portions(file: BinaryIO | None, *, size: int = PORTION_BYTES) -> AsyncIterator[bytes]:
    """Yield what ``file`` holds, at most ``size`` bytes at a time; nothing when there is none.

    Whoever opened the file closes it. Cancelled, it ends after the read that is under way.
    """
    while file is not None and (portion := await sync_to_async(file.read)(size)):
        yield portion


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # it brings no types
    """WhiteNoise for both kinds of server: the iterator of an answer is of the server's kind."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> FileResponse:
        """Answer with the file, or without one: unchanged since, only its head asked for."""
        response: FileResponse = WhiteNoiseMiddleware.serve(static_file, request)
        if isinstance(request, ASGIRequest):
            # The file is closed with the response all the same: Django has noted it.
            response.streaming_content = portions(response.file_to_stream)
        return response
