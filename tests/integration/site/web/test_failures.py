"""What people and programs are told while the database is away."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client

from openalgo_site.web import failures


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture(params=[OperationalError("database is locked"), InterfaceError("closed")])
def away(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **details: object) -> None:
        raise request.param

    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", fail)


@pytest.mark.usefixtures("away")
def test_a_page_says_so(client: Client) -> None:
    client.cookies["sessionid"] = "x" * 32
    answer = client.get("/")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert "The database does not answer" in answer.content.decode()


@pytest.mark.usefixtures("away")
def test_the_log_is_not_filled(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    failures._LOGGED.clear()
    for _ in range(5):
        client.get("/api/pools", headers={"X-API-KEY": "x" * 64})
    (line,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "requests fail, as the database does" in line.getMessage()
    assert line.exc_info is None


@pytest.mark.usefixtures("away")
def test_the_api_says_so_in_json(client: Client) -> None:
    answer = client.get("/api/pools", headers={"X-API-KEY": "x" * 64})
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "error",
        "message": "The database does not answer now. Try again in a few seconds.",
    }


@pytest.mark.parametrize("path", ["/", "/api/pools"])
def test_another_failure_is_still_one(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fail(*args: object, **details: object) -> None:
        raise RuntimeError("secret of the server")

    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", fail)
    client.cookies["sessionid"] = "x" * 32
    answer = client.get(path, headers={"X-API-KEY": "x" * 64})
    assert answer.status_code == 500
    assert "secret" not in answer.content.decode()
