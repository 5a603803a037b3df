"""Asking a broker for a credential: what is sent, and what comes of every answer."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.exceptions import BrokerRateLimitError, BrokerUnavailableError
from brokers.login.contract import Granted, Refusal, Refused
from brokers.registry import login_of
from pooling.login import driver as driver_module
from pooling.login.contracts import TakenLogin
from pooling.login.driver import LoginDriver
from pooling.login.states import AttemptKind
from pooling.testing.login import FakeLogin, FakeLoginHttp, FakeLoginStore
from pooling.testing.times import FakeClock

KEPT = {"api_key": "key1", "api_secret": "secret1", "pin": "1234"}
TOTP_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
GOOD = {"/token": ["granted tok"], "/pin": ["granted tok"], "/me": ["owner AB1"]}
LOST = BrokerUnavailableError("connection cut")


def taken(**values: Any) -> TakenLogin:
    given = {"attempt_id": 7, "pool_id": "1", "broker": "x", "kind": AttemptKind.BROWSER}
    return TakenLogin(**{**given, "kept": KEPT, "code": "c0de", **values})


async def obtain(answers: dict[str, Any], **values: Any) -> tuple[Any, FakeLoginHttp]:
    http, store = FakeLoginHttp({**GOOD, **answers}), FakeLoginStore()
    driver = LoginDriver(http=http, clock=FakeClock(), sends_totp=store.sends_totp)
    return await driver.obtain(FakeLogin(), taken(**values)), http


async def test_a_code_is_exchanged_and_what_comes_is_proved():
    result, http = await obtain({})
    assert result == Granted(values={"api_key": "key1", "access_token": "tok"}, owner="AB1")
    assert [(each[0], each[1]) for each in http.asked] == [("POST", "/token"), ("GET", "/me")]


async def test_a_pasted_credential_is_proved_only():
    result, http = await obtain({}, kind=AttemptKind.PASTED, values={"access_token": "mine"})
    assert result.values == {"access_token": "mine"}
    assert [each[1] for each in http.asked] == ["/me"]


async def test_a_credential_that_no_request_can_carry_is_refused_in_words():
    """Of every broker that has a login: what was pasted may be anything."""
    for broker in ("angel", "dhan", "fyers", "upstox", "zerodha"):
        http, store = FakeLoginHttp(GOOD), FakeLoginStore()
        driver = LoginDriver(http=http, clock=FakeClock(), sends_totp=store.sends_totp)
        login = login_of(broker)
        assert login is not None
        pasted = taken(kind=AttemptKind.PASTED, code="", values={"access_token": "t\u00f6ken"})
        result = await driver.obtain(login, pasted)
        assert isinstance(result, Refused)
        assert result.why is Refusal.SECRET
        assert "t\u00f6ken" not in result.text
        assert not http.asked


async def test_a_credential_that_the_callback_brought_is_proved_only():
    _, http = await obtain({}, values={"access_token": "mine"}, code="")
    assert [each[1] for each in http.asked] == ["/me"]


@pytest.mark.parametrize("kind", [AttemptKind.BROWSER, AttemptKind.PASTED])
async def test_somebody_else_of_the_broker_is_refused(kind: AttemptKind):
    result, _ = await obtain(
        {"/me": ["owner ZZ9"]}, owner="AB1", kind=kind, values={"access_token": "t"}
    )
    assert isinstance(result, Refused)
    assert result.why is Refusal.OWNER
    assert "ZZ9" in result.text
    assert "AB1" in result.text


async def test_somebody_else_is_refused_before_the_credential_is_used_at_all():
    result, http = await obtain({}, owner="AB1", told_owner="ZZ9", values={"access_token": "t"})
    assert result.why is Refusal.OWNER
    assert not http.asked


async def test_the_same_user_written_otherwise_is_the_same():
    result, _ = await obtain({"/me": ["owner ab1"]}, owner="AB1")
    assert isinstance(result, Granted)


@pytest.mark.parametrize(
    ("error", "why"), [(LOST, Refusal.DOWN), (BrokerRateLimitError("429"), Refusal.BUSY)]
)
async def test_a_code_that_got_no_answer_is_sent_once_and_says_what_to_do(error: Any, why: Refusal):
    result, http = await obtain({"/token": [error]})
    assert result.why is why
    assert "log in again" in result.text.lower()
    assert [each[1] for each in http.asked].count("/token") == 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "PROBE_PAUSES", (0.0, 0.0))


@pytest.mark.parametrize("error", [LOST, BrokerRateLimitError("429"), "unreadable"])
async def test_whose_it_is_is_asked_again(quick: None, error: Any):
    result, http = await obtain({"/me": [error, error, "owner AB1"]})
    assert isinstance(result, Granted)
    assert not result.warning
    assert [each[1] for each in http.asked] == ["/token", "/me", "/me", "/me"]


async def test_a_new_credential_is_kept_where_only_its_proof_got_no_answer(quick: None):
    """The one before it may have ended with it: thrown away, there would be none at all."""
    result, _ = await obtain({"/me": [LOST]}, owner="AB1", told_owner="AB1")
    assert isinstance(result, Granted)
    assert "could not be asked" in result.warning
    unknown, _ = await obtain({"/me": [LOST]}, owner="AB1")
    assert isinstance(unknown, Refused)
    pasted, _ = await obtain(
        {"/me": [LOST]}, kind=AttemptKind.PASTED, values={"access_token": "t"}, told_owner="AB1"
    )
    assert isinstance(pasted, Refused)


async def test_a_refused_credential_is_not_asked_about_again(quick: None):
    result, http = await obtain({"/me": ["secret"]}, told_owner="AB1")
    assert result.why is Refusal.SECRET
    assert [each[1] for each in http.asked].count("/me") == 1


async def test_a_refused_code_is_not_proved():
    result, http = await obtain({"/token": ["code"]})
    assert result.why is Refusal.CODE
    assert [each[1] for each in http.asked] == ["/token"]


async def test_an_unattended_login_sends_pin_and_code_and_remembers_the_period():
    http, store, clock = FakeLoginHttp(GOOD), FakeLoginStore(), FakeClock()
    driver = LoginDriver(http=http, clock=clock, sends_totp=store.sends_totp)
    kept = {**KEPT, "totp_secret": TOTP_SECRET}
    result = await driver.obtain(
        FakeLogin(), taken(kind=AttemptKind.UNATTENDED, kept=kept, code="")
    )
    assert isinstance(result, Granted)
    assert store.counters == [clock.time_ms() // 30_000]
    pin, _, code = http.asked[0][2].decode().partition(" ")
    assert pin == "1234"
    assert code.isdigit()
    assert len(code) == 6


async def test_a_secret_that_is_none_is_refused_before_anything_is_sent():
    kept = {**KEPT, "totp_secret": "not a secret 0189!"}
    result, http = await obtain({}, kind=AttemptKind.UNATTENDED, kept=kept)
    assert result.why is Refusal.SECRET
    assert not http.asked


def test_no_repr_shows_a_secret():
    shown = repr(taken(values={"access_token": "tok-secret"}))
    assert not any(each in shown for each in ("secret1", "1234", "c0de", "tok-secret"))
