"""What the gateways of a benchmark say of themselves, read with a key that all of them have."""

from __future__ import annotations

import urllib.request

__all__ = ["METRICS_KEY", "metrics_page"]

METRICS_KEY = "the-benchmarks-read-metrics"


def metrics_page(port: int, *, timeout_seconds: float = 30.0) -> bytes:
    """Return ``/metrics`` of the gateway at ``port``. Blocks."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"X-API-KEY": METRICS_KEY}
    )
    with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:
        page: bytes = answer.read()
        return page
