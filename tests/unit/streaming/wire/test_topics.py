"""Topics: what is built can be parsed back, and nothing is a prefix of anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import InstrumentKey
from streaming.exceptions import TopicError
from streaming.wire.topics import (
    BEAT_TOPIC,
    barrier_topic,
    is_barrier,
    parse_tick_topic,
    tick_topic,
)

_text = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)
_segment = _text.filter(lambda text: "/" not in text)


def test_a_topic_starts_with_the_pool_and_ends_with_its_terminator():
    """The layout other processes rely on."""
    assert tick_topic("42", InstrumentKey("NSE", "M&M")) == b"42/NSE/M&M\0"


@given(_segment, _segment, _text)
def test_parsing_gives_back_what_was_built(pool_id, exchange, symbol):
    """Any symbol, slashes and spaces included, survives the way there and back."""
    key = InstrumentKey(exchange, symbol)
    assert parse_tick_topic(tick_topic(pool_id, key)) == (pool_id, key)


@given(st.tuples(_segment, _segment, _text), st.tuples(_segment, _segment, _text))
def test_no_topic_is_a_prefix_of_another(one, other):
    """ZeroMQ matches prefixes, so equality must be the only way to match."""
    first = tick_topic(one[0], InstrumentKey(one[1], one[2]))
    second = tick_topic(other[0], InstrumentKey(other[1], other[2]))
    assert second.startswith(first) == (one == other)


def test_a_symbol_is_not_a_prefix_of_a_longer_one():
    """A subscription to RELIANCE must not bring RELIANCE-BE."""
    short = tick_topic("1", InstrumentKey("NSE", "RELIANCE"))
    long = tick_topic("1", InstrumentKey("NSE", "RELIANCE-BE"))
    assert not long.startswith(short)


@pytest.mark.parametrize(
    ("pool_id", "exchange", "symbol"),
    [
        ("", "NSE", "INFY"),
        ("1", "", "INFY"),
        ("1", "NSE", ""),
        ("1/2", "NSE", "INFY"),
        ("1", "N/E", "INFY"),
        ("1", "NSE", "IN\0FY"),
        ("1\0", "NSE", "INFY"),
        ("1", "NSE", "\ud800"),
        ("1", "NSE", "x" * 300),
    ],
)
def test_parts_that_could_collide_are_refused(pool_id, exchange, symbol):
    """Each would make two instruments share a topic, or none at all."""
    with pytest.raises(TopicError):
        tick_topic(pool_id, InstrumentKey(exchange, symbol))


@pytest.mark.parametrize(
    "topic", [b"", b"\0", b"1/NSE/INFY", b"1/NSE\0", b"1//INFY\0", b"1/N\0/X\0", b"\xff/N/X\0"]
)
def test_other_bytes_are_no_tick_topic(topic):
    """A parser that guesses would route ticks to the wrong pool."""
    with pytest.raises(TopicError):
        parse_tick_topic(topic)


def test_service_topics_cannot_be_tick_topics():
    """Beats and barriers start with bytes that no pool id starts with, and barriers sort last."""
    barrier = barrier_topic("a1")
    assert is_barrier(barrier)
    assert not is_barrier(BEAT_TOPIC)
    assert max(barrier, BEAT_TOPIC, "\U0010ffff/N/X\0".encode()) == barrier
    for topic in (barrier, BEAT_TOPIC):
        with pytest.raises(TopicError):
            parse_tick_topic(topic)


@pytest.mark.parametrize("token", ["", "é", "a\0", "a" * 101])
def test_barrier_tokens_are_short_ascii(token):
    """A token comes over the wire and must not become an arbitrary topic."""
    with pytest.raises(TopicError):
        barrier_topic(token)
