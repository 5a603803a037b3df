"""Where on a bus the present begins after a hold-up."""

from __future__ import annotations

from streaming.link.catching_up import CatchingUp


def test_nothing_is_asked_while_nothing_is_behind():
    catching_up = CatchingUp()
    assert not catching_up.is_behind
    assert catching_up.asks(0.0) is None


def test_it_ends_with_the_beat_that_was_the_latest_when_the_worker_was_asked():
    catching_up = CatchingUp()
    catching_up.begin()
    question = catching_up.asks(0.0)
    assert question is not None
    assert catching_up.asks(0.0) is None, "one question is under way"
    for beat in (3, 4, 12):
        catching_up.came(beat)
        assert catching_up.is_behind, "the worker has not answered"
    catching_up.answered(question, 14)
    catching_up.came(13)
    assert catching_up.is_behind
    catching_up.came(14)
    assert not catching_up.is_behind


def test_a_beat_that_is_lost_is_made_up_for_by_the_next():
    catching_up = CatchingUp()
    catching_up.begin()
    question = catching_up.asks(0.0)
    assert question is not None
    catching_up.answered(question, 14)
    catching_up.came(15)
    assert not catching_up.is_behind


def test_a_question_without_an_answer_is_asked_again():
    catching_up = CatchingUp()
    catching_up.begin()
    first = catching_up.asks(0.0)
    assert first is not None
    catching_up.answered(first, None)
    second = catching_up.asks(0.0)
    assert second is not None
    catching_up.answered(second, 2)
    catching_up.came(2)
    assert not catching_up.is_behind


def test_a_question_whose_answer_is_lost_is_asked_again_behind_two_beats():
    catching_up = CatchingUp()
    catching_up.begin()
    first = catching_up.asks(10.0)
    assert first is not None
    assert [catching_up.asks(now) for now in (11.0, 12.0, 12.4)] == [None] * 3
    second = catching_up.asks(12.5)
    assert second is not None
    assert catching_up.asks(13.0) is None
    catching_up.answered(second, 14)
    catching_up.answered(first, None)
    assert catching_up.asks(100.0) is None, "it is known"
    catching_up.came(14)
    assert not catching_up.is_behind


def test_what_was_asked_before_the_last_hold_up_counts_no_more():
    catching_up = CatchingUp()
    catching_up.begin()
    old = catching_up.asks(0.0)
    assert old is not None
    catching_up.begin()
    catching_up.answered(old, 5)
    catching_up.came(9)
    assert catching_up.is_behind
    assert catching_up.asks(0.0) is not None, "asked anew"
