"""The key that opens ``/metrics``: of no user, so that it opens nothing else and outlives them."""

from __future__ import annotations

import logging
import secrets
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from brokers.logs.redaction import REDACTOR
from brokers.words import one_line
from openalgo_site.config.secret_files import read_or_create_secret

__all__ = ["FILE_NAME", "REFUSAL", "metrics_key", "prepare_metrics_key", "shows_metrics_key"]

logger = logging.getLogger("openalgo_site")

FILE_NAME = "metrics.key"
REFUSAL = (
    "Metrics have a key of their own; an API key is none. Send it as Authorization: Bearer KEY, or "
    f"in X-API-KEY. It is METRICS_KEY, and without that setting what {FILE_NAME} in DATA_DIR of "
    "the gateway's machine holds. Staff may also log in."
)


def metrics_key() -> str:
    """Return the key; the first time of all makes its file. A new value counts after a restart.

    Raises:
        OSError: the file can be neither read nor made.
    """
    given: str = settings.ENV.metrics_key
    return given or _kept(Path(settings.DATA_DIR) / FILE_NAME)


def prepare_metrics_key() -> None:
    """Have the key's file there before the first scrape; metrics are no reason not to serve."""
    try:
        metrics_key()
    except OSError as error:
        logger.warning(
            "/metrics is for staff alone: its key can be neither read nor kept (%s)",
            one_line(error),
        )


@lru_cache(maxsize=8)
def _kept(path: Path) -> str:
    key = read_or_create_secret(path, secrets.token_urlsafe(32))
    REDACTOR.learn([key])
    return key


def shows_metrics_key(request: HttpRequest) -> bool:
    """Tell whether the request has the key, as Prometheus sends it or as an API key is sent.

    Nothing is the key while its file can be neither read nor made.
    """
    kind, _, credential = request.headers.get("Authorization", "").partition(" ")
    shown = [request.headers.get("X-API-KEY", "")]
    if kind.lower() == "bearer":
        shown.append(credential.strip())
    try:
        return any(constant_time_compare(each, metrics_key()) for each in shown if each)
    except OSError:
        return False
