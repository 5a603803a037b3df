"""What is read of a broker's answer, whatever it is, and what people are told of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.exceptions import BrokerConfigError
from brokers.login.answers import Answer, returned, returned_state, same_owner, words_of
from brokers.login.contract import MAX_ANSWER_BYTES, Refusal
from brokers.login.requests import is_token, needed, no_https
from brokers.logs.redaction import Redactor

BIG = b'{"a": "' + b"x" * 1024 * 1024 + b'"}'


def read(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer.read("Broker", status, headers or {}, body, ("pa55word",))


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b"<html>", b"[" * 9_000, BIG, b'{"a": 1e999}'],
)
def test_what_is_no_object_says_nothing(body: bytes) -> None:
    answer = read(body)
    assert answer.said == {}
    assert answer.by_status().why is Refusal.UNREADABLE
    assert read(body, 429).by_status().why is Refusal.BUSY
    assert read(body, 503).by_status().why is Refusal.DOWN


def test_an_answer_of_the_longest_allowed_size_is_read() -> None:
    body = b'{"a": "' + b"x" * (MAX_ANSWER_BYTES - 9) + b'"}'
    assert len(body) == MAX_ANSWER_BYTES
    assert "a" in read(body).said
    assert read(body + b" ").said == {}


@given(st.binary(max_size=200), st.integers(min_value=100, max_value=599))
def test_any_answer_is_read(body: bytes, status: int) -> None:
    assert read(body, status).by_status().text.startswith("Broker ")


@pytest.mark.parametrize(
    "value", [None, 1, True, [], {}, "", "a b", "a\n", "\u00e9", "x" * 4097, {"a": "b"}]
)
def test_a_token_of_a_wrong_type_or_form_is_none(value: object) -> None:
    answer = Answer("Broker", 200, {}, {"t": value})
    assert answer.token("t") == ""
    assert answer.token("other") == ""
    assert answer.inside("other") == answer.inside("t") if not value else True


def test_an_owner_may_be_a_number() -> None:
    answer = Answer("Broker", 200, {}, {"n": 1000000001, "t": True, "l": "x" * 65, "s": "AB1234"})
    assert [answer.owner(name) for name in "ntls"] == ["1000000001", "", "", "AB1234"]


def test_the_brokers_words_stand_in_the_first_sentence() -> None:
    answer = read(b'{"message": "Wrong  \\u0007 \\"thing\\". "}')
    told = answer.refused(Refusal.SECRET, "refused it. Mend it.", answer.words("message"))
    assert told.text == "Broker refused it (it says \"Wrong 'thing'\"). Mend it."
    assert (
        answer.refused(Refusal.SECRET, "refused it. Mend it.").text == "Broker refused it. Mend it."
    )


@pytest.mark.parametrize("noun", ["PIN", "API secret", "access token", "TOTP code", "password"])
def test_a_log_keeps_the_brokers_words(noun: str) -> None:
    """They stand behind the very nouns behind which a secret is expected."""
    answer = read(b'{"message": "Invalid thing"}')
    told = answer.refused(Refusal.SECRET, f"does not take the {noun}.", answer.words("message"))
    # One that knows no value by heart: others' tests may have had "secret" for one.
    assert Redactor().redact(told.text) == told.text
    assert "Invalid thing" in told.text


def test_words_are_one_short_line_without_a_secret() -> None:
    assert words_of("x" * 500).endswith("…")
    assert len(words_of("x" * 500)) == 160
    assert "pa55word" not in words_of("pin pa55word is wrong", ("pa55word",))
    assert "a%2Fb%2Fc" not in words_of("got a%2Fb%2Fc", ("a/b/c",))
    assert "zzz" not in words_of("access_token=zzzzzzzz")
    # A secret that the cut would go through.
    for start in range(150, 165):
        assert "pa55" not in words_of("x" * start + " pa55word", ("pa55word",))


def test_retry_after_is_told_of_what_may_be_repeated() -> None:
    busy = read(b"", 429, {"Retry-After": "30"}).by_status()
    assert (busy.retry_after_seconds, busy.may_be_repeated) == (30.0, True)
    other = read(b"", 401, {"Retry-After": "30"}).by_status()
    assert (other.retry_after_seconds, other.may_be_repeated) == (None, False)


def test_an_answer_shows_nothing_of_what_it_holds() -> None:
    answer = read(b'{"access_token": "tok-1234"}', headers={"Set-Cookie": "c00kie"})
    for secret in ("tok-1234", "c00kie", "pa55word"):
        assert secret not in repr(answer)


@pytest.mark.parametrize("value", ["", "a b", "\u00e9", "a\x00", "x" * 4097])
def test_a_returned_value_is_printable_ascii_or_none(value: str) -> None:
    assert returned({"code": value}, "code") == ""
    assert returned_state({"state": value}) == "?"


def test_a_missing_state_is_no_altered_state() -> None:
    assert returned_state({}) is None
    assert returned_state({"state": "s"}) == "s"


@given(st.text(max_size=30))
def test_a_token_is_printable_ascii_without_blanks(text: str) -> None:
    assert is_token(text) is (
        text != "" and text.isascii() and text.isprintable() and " " not in text
    )


def test_what_a_login_needs_is_named_where_it_is_missing_or_wrong() -> None:
    assert needed("Broker", {"pin": " 1234\n"}, "pin") == "1234"
    for value in ("", " ", "12 34", "\u0661"):
        with pytest.raises(BrokerConfigError, match=r"Broker: .*pin") as refusal:
            needed("Broker", {"pin": value}, "pin")
        assert not value.strip() or value not in str(refusal.value)
    with pytest.raises(BrokerConfigError, match="no pin"):
        needed("Broker", {}, "pin")


@pytest.mark.parametrize(
    ("address", "is_taken"),
    [
        ("https://pool.example.org/cb", True),
        ("https://127.0.0.1:8000/cb", True),
        ("http://127.0.0.1:8000/cb", True),
        ("http://localhost/cb", True),
        ("http://pool.example.org/cb", False),
        ("ftp://127.0.0.1/", False),
        ("https:///cb", False),
        ("https://[::1/", False),
        ("", False),
    ],
)
def test_a_browser_comes_back_over_tls_or_to_this_machine(address: str, is_taken: bool) -> None:
    assert (no_https("Broker", address) == "") is is_taken


def test_owners_are_compared_without_regard_to_case() -> None:
    assert same_owner("ab1234 ", "AB1234")
    assert not same_owner("AB1234", "AB1235")
