"""Metrics are optional: a key that cannot be kept opens nothing, and ends nothing."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from openalgo_site.config import metrics_key
from openalgo_site.config.metrics_key import prepare_metrics_key, shows_metrics_key


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics_key, "metrics_key", fail)


@pytest.mark.usefixtures("full_disk")
def test_a_gateway_starts_without_it(caplog: pytest.LogCaptureFixture) -> None:
    prepare_metrics_key()
    (line,) = caplog.messages
    assert "for staff alone" in line
    assert "No space left" in line


@pytest.mark.usefixtures("full_disk")
def test_nothing_is_the_key_then() -> None:
    request = RequestFactory().get("/metrics", headers={"Authorization": "Bearer None"})
    assert not shows_metrics_key(request)
