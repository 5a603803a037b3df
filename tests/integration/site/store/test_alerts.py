"""Alerts to a real HTTP server, to mail servers, to own code; and who is told, in the admin."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import httpx2
import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from pooling.alerts.contracts import AlertKind, Target
from pooling.alerts.email import EmailSender
from pooling.alerts.message import signature
from pooling.alerts.store import DjangoAlertStore, announce
from pooling.alerts.threads import in_daemon_thread
from pooling.alerts.webhook import WebhookSender
from pooling.clock import SystemClock
from pooling.exceptions import AlertError, AlertRefusedError
from pooling.models import AlertTarget, BrokerAccount
from pooling.signals import pool_state_changed
from tests.credential_kit import CredentialCipher
from tests.integration.site.admin.admin_kit import staff
from tests.support import free_port
from tests.unit.pooling.test_alert_rules import ALERT

SECRET = "canary-signing-secret"
PATH = "/services/canary-path-T000"


class Receiver(http.server.ThreadingHTTPServer):
    """A webhook's other end: keeps what it gets, answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        self.headers: dict[str, str] = {}
        self.may_answer = threading.Event()
        self.may_answer.set()
        super().__init__(("127.0.0.1", 0), _Request)

    @property
    def url(self) -> str:
        return f"http://hooks.test:{self.server_port}{PATH}"

    @property
    def host(self) -> str:
        return f"hooks.test:{self.server_port}"


class _Request(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.got.append((self.path, dict(self.headers), body))
        server.may_answer.wait(20)
        self.send_response(server.status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.may_answer.set()
    server.shutdown()
    thread.join(10)
    server.server_close()


async def here(host: str, port: int) -> list[str]:
    """Look every name up as this machine."""
    return ["127.0.0.1"]


def sender(*allowed: str, **options: Any) -> WebhookSender:
    return WebhookSender(
        allowed_hosts=allowed, clock=SystemClock(), **{"resolver": here, **options}
    )


def webhook(url: str, secret: str = SECRET) -> Target:
    return Target(id=1, kind=AlertKind.WEBHOOK, address=url, secret=secret)


async def test_a_webhook_gets_signed_json(receiver: Receiver) -> None:
    await sender(receiver.host)(webhook(receiver.url), ALERT)
    ((path, headers, body),) = receiver.got
    assert path == PATH
    assert headers["Host"] == receiver.host
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["event_id"] == "e1"
    sent = int(headers["TickPool-Signature"].split(",")[0].removeprefix("t="))
    assert headers["TickPool-Signature"] == signature(body, SECRET, sent)


async def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    await sender(receiver.host)(webhook(receiver.url, secret=""), ALERT)
    assert "TickPool-Signature" not in receiver.got[0][1]


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_answers_that_may_get_better_are_told_apart(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(AlertError, match=str(status)) as caught:
        await sender(receiver.host)(webhook(receiver.url), ALERT)
    assert not isinstance(caught.value, AlertRefusedError)


@pytest.mark.parametrize("status", [302, 307, 400, 404])
async def test_redirects_are_not_followed_and_refusals_are_final(
    receiver: Receiver, status: int
) -> None:
    receiver.status = status
    receiver.headers = {"Location": f"http://127.0.0.1:{receiver.server_port}/inside"}
    with pytest.raises(AlertRefusedError, match=str(status)):
        await sender(receiver.host)(webhook(receiver.url), ALERT)
    assert len(receiver.got) == 1


async def test_nothing_is_connected_to_that_is_inside(receiver: Receiver) -> None:
    url = f"https://hooks.test:{receiver.server_port}{PATH}"
    with pytest.raises(AlertRefusedError, match="ALERT_WEBHOOK_HOSTS"):
        await sender()(webhook(url), ALERT)
    assert not receiver.got


async def test_a_receiver_that_hangs_or_is_gone_is_an_error_without_the_url(
    receiver: Receiver,
) -> None:
    receiver.may_answer.clear()
    with pytest.raises(AlertError, match="no answer within") as hung:
        await sender(receiver.host, timeout_seconds=0.3)(webhook(receiver.url), ALERT)
    with pytest.raises(AlertError, match="not reachable") as gone:
        await sender("hooks.test")(webhook(f"http://hooks.test:{free_port()}{PATH}"), ALERT)
    assert "canary" not in f"{hung.value}{gone.value}"


async def test_the_clients_own_bound_of_time_reads_like_the_senders() -> None:
    """Which of the two is first is chance when the machine was busy."""

    def late(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("late", request=request)

    send = sender("hooks.test", transport=httpx2.MockTransport(late))
    with pytest.raises(AlertError, match="no answer within 10 s"):
        await send(webhook(f"http://hooks.test{PATH}"), ALERT)


async def test_an_email_is_sent_with_djangos_settings(settings: Any) -> None:
    settings.DEFAULT_FROM_EMAIL = "pools@example.com"
    target = Target(id=1, kind=AlertKind.EMAIL, address="asha@example.com")
    await EmailSender(zone=UTC, is_configured=True)(target, ALERT)
    (message,) = mail.outbox
    assert (message.to, message.from_email) == (["asha@example.com"], "pools@example.com")
    assert "login needed" in message.subject
    with pytest.raises(AlertRefusedError, match="EMAIL_HOST"):
        await EmailSender(zone=UTC, is_configured=False)(target, ALERT)


@contextmanager
def mail_server(refusal: bytes = b"") -> Iterator[tuple[int, list[bytes]]]:
    """A mail server for one message; yields its port and what it was told. Refuses recipients."""
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)

        def serve() -> None:
            peer, _ = listener.accept()
            with peer, peer.makefile("rwb") as stream:

                def answer(line: bytes) -> None:
                    stream.write(line + b"\r\n")
                    stream.flush()

                answer(b"220 ready")
                for line in stream:
                    said.append(line)
                    if line.upper().startswith(b"RCPT") and refusal:
                        answer(refusal)
                    elif line.upper().startswith(b"DATA"):
                        answer(b"354 go on")
                        for text in stream:
                            said.append(text)
                            if text == b".\r\n":
                                break
                        answer(b"250 taken")
                    elif line.upper().startswith(b"QUIT"):
                        answer(b"221 bye")
                        return
                    else:
                        answer(b"250 ok")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], said
        thread.join(60)


@pytest.fixture
def smtp(settings: Any) -> Any:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = "127.0.0.1", 60
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
    return settings


async def test_a_real_mail_server_takes_or_refuses_it(smtp: Any) -> None:
    target = Target(id=1, kind=AlertKind.EMAIL, address="asha@example.com")
    email = EmailSender(zone=UTC, is_configured=True)
    with mail_server() as (smtp.EMAIL_PORT, said):
        await email(target, ALERT)
    assert b"rcpt TO:<asha@example.com>\r\n".lower() in [line.lower() for line in said]
    assert any(line.startswith(b"Subject: TickPool: asha/zerodha/main") for line in said)
    with (
        mail_server(b"550 nobody here") as (smtp.EMAIL_PORT, _),
        pytest.raises(AlertRefusedError, match="refused"),
    ):
        await email(target, ALERT)
    smtp.EMAIL_PORT = free_port()  # nobody listens there
    with pytest.raises(AlertError, match="failed") as gone:
        await email(target, ALERT)
    assert not isinstance(gone.value, AlertRefusedError)


def test_the_store_decrypts_what_is_enabled_and_notes_how_it_went(
    account: BrokerAccount, cipher: CredentialCipher, data_dir: Path
) -> None:
    row = AlertTarget(account=account, kind="webhook", address="https://hooks.test")
    row.set_secrets({"url": f"https://hooks.test{PATH}", "secret": SECRET}, cipher)
    row.save()
    AlertTarget.objects.create(account=account, kind="email", address="a@b.example")
    AlertTarget.objects.create(
        account=account, kind="email", address="off@x.example", enabled=False
    )
    store = DjangoAlertStore(key_file=data_dir / "credentials.key")
    found = async_to_sync(store.targets)(account.pool_id)
    assert found is not None
    assert (found.user, found.broker) == ("asha", "zerodha")
    first, second = found.targets
    assert (first.address, first.secret) == (f"https://hooks.test{PATH}", SECRET)
    assert (second.kind, second.address) == (AlertKind.EMAIL, "a@b.example")
    assert "canary" not in repr(found)
    async_to_sync(store.delivered)(row.pk, "answered HTTP 500")
    row.refresh_from_db()
    assert (row.last_error, row.last_tried is not None) == ("answered HTTP 500", True)
    account.delete()
    assert async_to_sync(store.targets)("1") is None


def test_a_secret_that_nobody_can_read_costs_no_other_target_its_alert(
    account: BrokerAccount, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by itself, nor where its row cannot be told so."""
    bad = AlertTarget.objects.create(
        account=account, kind="webhook", address="https://hooks.test", secrets={"url": "x"}
    )
    AlertTarget.objects.create(account=account, kind="email", address="a@b.example")
    store = DjangoAlertStore(key_file=data_dir / "credentials.key")

    def locked(*_: object) -> None:
        raise OperationalError("database is locked")

    for is_locked in (False, True):
        if is_locked:
            monkeypatch.setattr("pooling.alerts.store._note", locked)
        found = async_to_sync(store.targets)(account.pool_id)
        assert found is not None
        assert [each.address for each in found.targets] == ["a@b.example"]
        bad.refresh_from_db()
        assert bad.last_error


async def test_own_code_is_told_even_if_a_receiver_raises() -> None:
    got: list[Any] = []

    def broken(**kwargs: Any) -> None:
        raise RuntimeError("a defect")

    def good(alert: Any, **kwargs: Any) -> None:
        got.append((alert, threading.current_thread() is threading.main_thread()))

    pool_state_changed.connect(broken)
    pool_state_changed.connect(good)
    try:
        await announce(ALERT)
    finally:
        pool_state_changed.disconnect(broken)
        pool_state_changed.disconnect(good)
    assert got == [(ALERT, False)]


ADMIN = "/admin/pooling/alerttarget/"
FORM = {"kind": "webhook", "tells_recovery": "on", "enabled": "on"}


@pytest.fixture
def clerk(client: Client, account: BrokerAccount) -> Client:
    names = [f"pooling.{verb}_alerttarget" for verb in ("view", "add", "change", "delete")]
    client.force_login(staff("clerk", *names, "pooling.view_brokeraccount"))
    return client


def test_a_webhook_is_written_in_the_admin_and_never_shown(
    clerk: Client, account: BrokerAccount, cipher: CredentialCipher
) -> None:
    url = f"https://hooks.example.com{PATH}"
    data = {**FORM, "account": account.pk, "url": url, "secret": SECRET}
    assert clerk.post(f"{ADMIN}add/", data).status_code == 302
    row = AlertTarget.objects.get()
    assert row.address == "https://hooks.example.com"
    assert row.secrets_in_clear(cipher) == {"url": url, "secret": SECRET}
    kept = {"tells_recovery": "on", "enabled": "on"}
    assert clerk.post(f"{ADMIN}{row.pk}/change/", kept).status_code == 302
    newer = {**kept, "secret": f"{SECRET}-2"}
    assert clerk.post(f"{ADMIN}{row.pk}/change/", newer).status_code == 302
    row.refresh_from_db()
    assert row.secrets_in_clear(cipher) == {"url": url, "secret": f"{SECRET}-2"}
    pages = "".join(
        clerk.get(f"{ADMIN}{below}").content.decode()
        for below in ("", f"{row.pk}/change/", f"{row.pk}/history/")
    )
    assert "URL set, signed" in pages
    logs = "".join(f"{entry.object_repr}{entry.change_message}" for entry in LogEntry.objects.all())
    for secret in (PATH, SECRET, row.secrets["url"]):
        assert secret not in pages
        assert secret not in logs


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "http://127.0.0.1:9/x"}, "ALERT_WEBHOOK_HOSTS"),
        ({"url": "https://10.0.0.1/x"}, "not public"),
        ({"url": ""}, "Enter where to send to."),
        ({"url": "https://hooks.example.com/x", "secret": "short"}, "at least 16"),
        ({"kind": "email", "url": "", "address": "nobody"}, "Enter the mailbox"),
        (
            {"kind": "email", "url": "https://a.example/", "address": "a@b.example"},
            "Only a webhook",
        ),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_mends_it(
    clerk: Client,
    account: BrokerAccount,
    cipher: CredentialCipher,
    changes: dict[str, str],
    says: str,
) -> None:
    answer = clerk.post(f"{ADMIN}add/", {**FORM, "account": account.pk, **changes})
    assert says in answer.content.decode()
    assert not AlertTarget.objects.exists()


def test_the_form_says_what_is_kept_and_how_the_last_alert_ended(
    clerk: Client, account: BrokerAccount, cipher: CredentialCipher
) -> None:
    """Before saving again, after a refusal, and after an alert that nobody took."""
    row = AlertTarget(account=account, kind="webhook", address="https://hooks.example.com")
    row.set_secrets({"url": f"https://hooks.example.com{PATH}"}, cipher)
    row.save()
    change = f"{ADMIN}{row.pk}/change/"
    shown = clerk.get(change).content.decode()
    assert shown.count("Leave it empty to keep the one that is stored.") == 1
    assert "none yet" in shown
    AlertTarget.objects.update(last_tried=timezone.now(), last_error="it answered 410 <b>Gone</b>")
    shown = clerk.get(change).content.decode()
    assert "it answered 410 &lt;b&gt;Gone&lt;/b&gt;" in shown
    refused = clerk.post(change, {**FORM, "url": "ftp://x/", "secret": SECRET}).content.decode()
    assert "not kept: type it again" in refused
    assert SECRET not in refused


async def test_a_look_up_is_made_in_a_thread_that_nobody_waits_for() -> None:
    """The end of a process must not wait for a name server or a mail server."""
    let_go = threading.Event()
    waiting = asyncio.create_task(in_daemon_thread(let_go.wait, 20))
    await asyncio.sleep(0)
    assert all(t.daemon for t in threading.enumerate() if t.name == "alert-wait")
    waiting.cancel()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0)
