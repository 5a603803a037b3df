"""What every login does alike, whichever broker's it is and whatever a server or a browser says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.exceptions import BrokerConfigError
from brokers.login.contract import (
    BrokerLogin,
    Code,
    Granted,
    LoginKind,
    LoginRequest,
    Refusal,
    Refused,
)
from brokers.registry import default_registry, login_of
from tests.unit.brokers.login.login_kit import CALLBACK, STATE, login

# Feeds that share a login are one.
BROKERS = sorted({of.brokers[0] for name in default_registry().names() if (of := login_of(name))})
BIG = b'{"status": "' + b"x" * 1024 * 1024 + b'"}'
BODIES = [
    b"",
    b"<!doctype html><html><title>502 Bad Gateway</title></html>",
    BIG,
    b"null",
    b"[]",
    b"{}",
    b"{",
    b"\xff\xfe\x00",
    b"[" * 9_000,
    b'{"status": true}',
    b'{"status": "success", "data": null}',
    b'{"status": "success", "data": {"access_token": 1, "user_id": []}}',
    b'{"s": "ok", "access_token": ["x"]}',
    b'{"accessToken": {"a": 1}, "access_token": null}',
    '{"access_token": "é", "accessToken": "a.b c.d", "user_id": "X"}'.encode(),
]
SECRET_WORD = "s3cr3t-plant-0001"
ANSWER_NAMES = (
    "status s data message error_type errorcode errorCode errors code access_token accessToken "
    "jwtToken feedToken user_id fy_id dhanClientId clientcode consentAppId tokenValidity"
)
QUERY_NAMES = (
    "status action request_token code auth_code auth_token feed_token tokenId state s message"
)


def values_of(of: BrokerLogin) -> dict[str, str]:
    """Return something for every field of a login."""
    known = {"made_on": "2026-11-30", "totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}
    names = [field.name for kind in of.fields.values() for field in kind]
    return {name: known.get(name, SECRET_WORD) for name in names}


def granted_by(broker: str) -> Granted:
    capabilities = default_registry().get(broker).capabilities
    values = {each.name: SECRET_WORD for each in capabilities.credential_fields}
    return Granted(
        values=values | ({"access_token": f"A-1:{SECRET_WORD}"} if broker == "fyers" else {})
    )


def requests_of(of: BrokerLogin, broker: str) -> Iterator[LoginRequest]:
    kept = values_of(of)
    prepared = of.prepare(kept, CALLBACK)
    if prepared is not None:
        yield prepared
    yield of.probe(granted_by(broker))
    try:
        yield of.exchange(kept, "code-0001", CALLBACK)
    except NotImplementedError:
        assert of.brokers == ("angel",)
    if LoginKind.UNATTENDED in of.fields:
        yield of.unattended(kept, "123456")


def test_public_data_has_no_login() -> None:
    assert login_of("nobody") is None
    assert BROKERS == ["angel", "dhan", "fyers", "upstox", "zerodha"]
    without = [name for name in default_registry().names() if login_of(name) is None]
    assert without == ["binance"]


def test_all_feeds_of_a_user_share_a_login() -> None:
    for name in default_registry().names():
        of = login_of(name)
        assert of is None or name in of.brokers
    assert login("dhan_depth200").brokers == ("dhan", "dhan_depth20", "dhan_depth200")


@pytest.mark.parametrize("broker", BROKERS)
def test_a_login_names_its_brokers_and_describes_its_fields(broker: str) -> None:
    of = login(broker)
    assert broker in of.brokers
    assert LoginKind.BROWSER in of.fields
    assert of.attempt_seconds <= 600
    for kind, asked in of.fields.items():
        assert kind in LoginKind
        assert len({each.name for each in asked}) == len(asked)
        for each in asked:
            assert each.label
            assert each.where == "" or urlsplit(each.where).scheme == "https"
            re.compile(each.pattern)
    # The same name is the same field, wherever it is asked for.
    names = {each.name: each.is_secret for kind in of.fields.values() for each in kind}
    assert all(each.is_secret == names[each.name] for kind in of.fields.values() for each in kind)


@pytest.mark.parametrize("broker", BROKERS)
def test_all_requests_go_to_the_broker_by_tls_or_below_the_given_url(broker: str) -> None:
    for request in requests_of(login(broker), broker):
        assert request.url.startswith("https://")
    below = login(broker, "http://127.0.0.1:9/base/")
    for request in requests_of(below, broker):
        assert request.url.startswith("http://127.0.0.1:9/base/")
        assert "//base" not in request.url
        assert "/base//" not in request.url
    page = below.page(values_of(below), state=STATE, redirect_uri=CALLBACK, prepared="p-1")
    assert page.startswith("http://127.0.0.1:9/base/")


@pytest.mark.parametrize("broker", BROKERS)
def test_what_has_to_be_prepared_is_said_before_any_secret_is_opened(broker: str) -> None:
    of = login(broker)
    assert of.needs_preparing is (of.prepare(values_of(of), CALLBACK) is not None)
    assert of.needs_preparing is (broker == "dhan")


@pytest.mark.parametrize("broker", BROKERS)
def test_no_repr_shows_a_secret(broker: str) -> None:
    of = login(broker)
    shown = [repr(of), repr(granted_by(broker)), repr(Code(value=SECRET_WORD, state=SECRET_WORD))]
    for request in requests_of(of, broker):
        shown += [repr(request), str(request), request.place]
        for name, value in request.headers.items():
            assert f"{name}{value}".isascii()
            assert f"{name}{value}".isprintable()
    for text in shown:
        assert SECRET_WORD not in text
        assert "123456" not in text
        assert "code-0001" not in text


@pytest.mark.parametrize("broker", BROKERS)
def test_the_page_carries_the_state_and_no_secret(broker: str) -> None:
    of = login(broker)
    kept = values_of(of)
    secret = {each.name for kind in of.fields.values() for each in kind if each.is_secret}
    public = {name: value for name, value in kept.items() if name not in secret}
    page = of.page(public, state=STATE, redirect_uri=CALLBACK, prepared="p-1")
    if of.echoes_state:
        assert STATE in page
    for name in secret:
        kept[name] = f"planted-{name}"
    assert "planted" not in of.page(kept, state=STATE, redirect_uri=CALLBACK, prepared="p-1")


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 429, 500, 503])
def test_an_answer_of_anything_is_a_refusal_in_words(broker: str, status: int) -> None:
    of = login(broker)
    kept = values_of(of)
    results: list[object] = []
    for body in BODIES:
        results.append(of.answer(kept, status, {}, body))
        results.append(of.probed(granted_by(broker), status, {}, body))
        if of.prepare(kept, CALLBACK) is not None:
            results.append(of.prepared(status, {}, body))
    for result in results:
        assert isinstance(result, Refused), result
        assert SECRET_WORD not in result.text
        assert result.text.startswith(type(of).label)  # type: ignore[attr-defined]
        if status == 429:
            assert result.why is Refusal.BUSY
        elif status >= 500:
            assert result.why is Refusal.DOWN
        else:
            assert not result.may_be_repeated


NAMES = st.sampled_from(ANSWER_NAMES.split())
ANSWERS = st.dictionaries(
    NAMES,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.sampled_from(["success", "ok", "error", SECRET_WORD]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=6,
)


@pytest.mark.parametrize("broker", BROKERS)
@given(said=ANSWERS, status=st.sampled_from([200, 201, 302, 400, 401, 403, 429, 500]))
def test_no_answer_raises(broker: str, said: dict[str, object], status: int) -> None:
    """Objects with the very names that brokers use, and anything as their values."""
    try:
        body = msgspec.json.encode(said)
    except (OverflowError, UnicodeEncodeError):
        return
    of = login(broker)
    for result in (
        of.answer(values_of(of), status, {}, body),
        of.probed(granted_by(broker), status, {}, body),
    ):
        assert isinstance(result, Granted | Refused)
        if isinstance(result, Granted):
            assert status < 300
            assert all(value.isascii() for value in result.values.values())
        else:
            assert SECRET_WORD not in result.text
            assert result.text.isprintable()


@pytest.mark.parametrize("broker", BROKERS)
@given(
    query=st.dictionaries(
        st.sampled_from(QUERY_NAMES.split()),
        st.text(max_size=20) | st.sampled_from(["success", "ok", "login", SECRET_WORD]),
        max_size=8,
    )
)
def test_no_return_of_a_browser_raises(broker: str, query: dict[str, str]) -> None:
    of = login(broker)
    result = of.callback(query, values_of(of))
    assert isinstance(result, Code | Granted | Refused)
    assert result.state is None or result.state.isascii()
    if isinstance(result, Refused):
        assert result.text.isprintable()


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("query", [{}, {"state": STATE}, {"state": "\u00e9"}, {"x": "y"}])
def test_a_return_without_anything_is_refused_with_its_state(
    broker: str, query: dict[str, str]
) -> None:
    result = login(broker).callback(query, values_of(login(broker)))
    assert isinstance(result, Refused)
    assert result.why in (Refusal.DECLINED, Refusal.CODE)
    assert result.state == {None: None, STATE: STATE, "\u00e9": "?"}[query.get("state")]


@pytest.mark.parametrize("broker", BROKERS)
def test_a_step_names_what_it_lacks(broker: str) -> None:
    of = login(broker)
    missing = dict.fromkeys(values_of(of), "")
    steps = [
        lambda: of.prepare(missing, CALLBACK),
        lambda: of.exchange(missing, "code", CALLBACK),
        lambda: of.unattended(missing, "123456"),
        lambda: of.probe(Granted(values={})),
    ]
    told = []
    for step in steps:
        try:
            step()
        except BrokerConfigError as error:
            told.append(str(error))
        except NotImplementedError:
            continue
    assert len(told) >= 2
    names = (*granted_by(broker).values, *missing)
    assert all(any(name in words for name in names) for words in told)
