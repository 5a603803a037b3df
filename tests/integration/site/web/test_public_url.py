"""``PUBLIC_URL``: the one setting switches on what a site behind TLS needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.http import HttpResponse
from django.test import Client

from openalgo_site.config.public_url import parse_public_url

ROOT = Path(__file__).resolve().parents[4]
PUBLIC = "https://ticks.example.com"


def manage(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")
    } | {"DATA_DIR": str(tmp_path / "data"), **environment}
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_check_deploy_has_nothing_to_say(tmp_path: Path) -> None:
    """With this one setting, and the key file that every installation has."""
    assert manage(tmp_path, "createkeyfile")[0] == 0
    arguments = ("check", "--deploy", "--fail-level", "WARNING")
    code, words = manage(tmp_path, *arguments, PUBLIC_URL=PUBLIC)
    assert (code, "no issues" in words) == (0, True), words
    code, words = manage(tmp_path, *arguments)
    assert code == 1
    assert {each for each in ("W004", "W008", "W012", "W016") if each in words} == {
        "W004", "W008", "W012", "W016",
    }  # fmt: skip


SHOW = """
from django.conf import settings as s
print(s.ALLOWED_HOSTS, s.CSRF_TRUSTED_ORIGINS, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,
      s.SECURE_HSTS_SECONDS)
"""


def test_it_is_host_and_origin_beside_those_that_are_named(tmp_path: Path) -> None:
    _, words = manage(
        tmp_path, "shell", "--no-imports", "-c", SHOW, PUBLIC_URL="https://ticks.example.com:8443",
        ALLOWED_HOSTS="localhost", CSRF_TRUSTED_ORIGINS="https://front.example",
    )  # fmt: skip
    assert words.split("\n")[0] == (
        "['localhost', 'ticks.example.com'] "
        "['https://front.example', 'https://ticks.example.com:8443'] True True 31536000"
    )
    _, words = manage(tmp_path, "shell", "--no-imports", "-c", SHOW, PUBLIC_URL="http://intranet")
    assert words.split("\n")[0].endswith("['http://intranet'] False False 0")


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    code, words = manage(tmp_path, "check", PUBLIC_URL="https://example.com/tick/")
    assert code != 0
    assert "PUBLIC_URL cannot be used" in words
    assert "a host name of its own" in words
    assert "Traceback" not in words


@pytest.fixture
def public(settings: Any) -> None:
    """What settings.py makes of the one setting."""
    settings.PUBLIC_URL = parse_public_url(PUBLIC)
    settings.ALLOWED_HOSTS = ["127.0.0.1", "ticks.example.com"]
    settings.CSRF_TRUSTED_ORIGINS = [PUBLIC]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SECURE_HSTS_SECONDS = 31_536_000


def get(path: str, **details: Any) -> HttpResponse:
    client = Client(headers={"Host": "ticks.example.com"}, raise_request_exception=False)
    return client.get(path, **details)  # type: ignore[return-value]


@pytest.mark.usefixtures("public")
def test_a_page_in_clear_leads_to_the_same_page_with_tls() -> None:
    answer = get("/login/?next=/status/", REMOTE_ADDR="192.0.2.7")
    assert answer.status_code == 301
    assert answer["Location"] == f"{PUBLIC}/login/?next=/status/"
    # Never somewhere that the request names.
    client = Client(headers={"Host": "evil.example"}, raise_request_exception=False)
    assert client.get("//evil.example/", REMOTE_ADDR="192.0.2.7")["Location"].startswith(
        f"{PUBLIC}/"
    )


@pytest.mark.usefixtures("public")
def test_the_api_in_clear_is_refused_in_a_sentence() -> None:
    answer = get("/api/pools", REMOTE_ADDR="192.0.2.7")
    assert answer.status_code == 403
    message = answer.json()["message"]  # type: ignore[attr-defined]
    assert f"at {PUBLIC} only" in message
    assert "make a new one" not in message
    shown = get("/api/pools", REMOTE_ADDR="192.0.2.7", headers={"X-API-KEY": "k" * 64})
    assert "make a new one" in shown.json()["message"]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("public")
@pytest.mark.django_db
def test_this_machine_and_a_proxy_that_is_not_trusted_are_served() -> None:
    local = get("/login/", headers={"Host": "127.0.0.1:8000"})
    proxied = get("/login/", REMOTE_ADDR="172.17.0.1", headers={"X-Forwarded-Proto": "https"})
    assert (local.status_code, proxied.status_code) == (200, 200)


@pytest.mark.usefixtures("public")
@pytest.mark.django_db
def test_with_tls_browsers_are_told_to_stay_and_cookies_are_secure() -> None:
    answer = get("/login/", secure=True)
    assert answer.status_code == 200
    assert answer["Strict-Transport-Security"] == "max-age=31536000"
    assert answer.cookies["csrftoken"]["secure"]
    assert "wss://ticks.example.com" in answer["Content-Security-Policy"]
    assert "ws://" not in answer["Content-Security-Policy"].replace("wss://", "")


@pytest.mark.django_db
def test_without_it_nothing_is_secure_and_nobody_is_moved() -> None:
    assert django_settings.PUBLIC_URL is None
    answer = Client().get("/login/", REMOTE_ADDR="192.0.2.7")
    assert answer.status_code == 200
    assert "Strict-Transport-Security" not in answer
    assert not answer.cookies["csrftoken"]["secure"]
