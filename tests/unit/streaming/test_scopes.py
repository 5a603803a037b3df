"""What an API key may do, in words."""

from __future__ import annotations

from streaming.scopes import EVERYTHING, READING, Scope, refusal, scope_text


def test_a_scope_is_told_in_words_and_in_one_order() -> None:
    assert scope_text(EVERYTHING) == "read ticks, read status, set credentials"
    assert scope_text([Scope.READ_STATUS, Scope.READ_TICKS]) == scope_text(READING)
    assert scope_text(frozenset()) == "nothing"


def test_a_refusal_says_what_the_key_may_and_what_mends_it() -> None:
    assert refusal(Scope.READ_TICKS, {Scope.READ_STATUS}) == (
        "This API key may read status, not read ticks: use one that may "
        "(made in the admin, or with createapikey --scope)."
    )
