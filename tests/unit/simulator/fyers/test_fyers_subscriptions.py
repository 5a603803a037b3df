"""What Fyers' requests change: topics by channel, symbols under a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.simulator.fyers.subscriptions import (
    BadRequestError,
    FyersBook,
    FyersChange,
    FyersRequest,
    RequestKind,
    parse_request,
)
from tests.unit.brokers.fyers.fyers_vectors import FYERS_REQUESTS

KNOWN = {f"{kind}|nse_cm|{number}" for number in range(10) for kind in ("sf", "dp")}


def feed(number: int) -> str:
    return f"sf|nse_cm|{number}"


def depth(number: int) -> str:
    return f"dp|nse_cm|{number}"


def book_of(limit: int = 3) -> FyersBook:
    return FyersBook(limit=limit, known=KNOWN)


def on(book: FyersBook, *topics: str, channel: int = 11) -> FyersChange:
    return book.apply(FyersRequest(RequestKind.SUBSCRIBE, topics=topics, channels=(channel,)))


def off(book: FyersBook, *topics: str, channel: int = 11) -> FyersChange:
    return book.apply(FyersRequest(RequestKind.UNSUBSCRIBE, topics=topics, channels=(channel,)))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ping", FyersRequest(RequestKind.PING)),
        ("auth", FyersRequest(RequestKind.AUTH, key="HSMKEY123")),
        ("full", FyersRequest(RequestKind.MODE, channels=(11,))),
        ("lite", FyersRequest(RequestKind.MODE, channels=(11,), is_lite=True)),
        (
            "subscribe",
            FyersRequest(
                RequestKind.SUBSCRIBE,
                topics=("sf|nse_cm|3045", "if|nse_cm|Nifty 50"),
                channels=(11,),
            ),
        ),
        ("ack", FyersRequest(RequestKind.ACK, number=2)),
    ],
)
def test_the_official_clients_requests_are_read(name: str, meant: FyersRequest) -> None:
    """Whatever they say of their length."""
    assert parse_request(bytes.fromhex(FYERS_REQUESTS[name])) == meant


@pytest.mark.parametrize("name", ["auth", "full", "subscribe", "ack"])
def test_a_request_that_is_cut_short_is_none(name: str) -> None:
    frame = bytes.fromhex(FYERS_REQUESTS[name])
    for size in range(len(frame)):
        with pytest.raises(BadRequestError):
            parse_request(frame[:size])


@pytest.mark.parametrize(
    "frame",
    [
        "ping",
        b"\0\0\x63\0",
        b"\0\0\x04\0",
        bytes.fromhex(FYERS_REQUESTS["full"]).replace(b"F", b"X"),
        bytes.fromhex(FYERS_REQUESTS["subscribe"])[:-1] + b"\0",
        bytes.fromhex(FYERS_REQUESTS["subscribe"])[:-1] + b"\x40",
        bytes.fromhex(FYERS_REQUESTS["subscribe"]).replace(b"sf|", b"\xff\xfe|"),
    ],
)
def test_what_is_no_request_is_refused(frame: str | bytes) -> None:
    with pytest.raises(BadRequestError):
        parse_request(frame)


def test_a_symbol_counts_once_however_many_topics_it_has() -> None:
    book = book_of(limit=2)
    assert on(book, feed(1), depth(1), feed(2)).added == (feed(1), depth(1), feed(2))
    assert on(book, depth(2), feed(3)) == FyersChange(added=(depth(2),), over_limit=1)
    assert book.symbols == {"nse_cm|1", "nse_cm|2"}
    assert on(book, feed(1), channel=12).added == (feed(1),)


def test_symbols_of_further_connections_count_too() -> None:
    book = book_of(limit=2)
    request = FyersRequest(RequestKind.SUBSCRIBE, topics=(feed(1), feed(2)), channels=(11,))
    assert book.apply(request, {"nse_cm|2", "nse_cm|9"}) == FyersChange((feed(2),), over_limit=1)


def test_duplicates_unknown_topics_and_strangers_are_noticed() -> None:
    book = book_of()
    assert on(book, feed(1), feed(1), feed(77)) == FyersChange((feed(1),), duplicates=1, unknown=1)
    assert off(book, feed(1), feed(2), depth(1)) == FyersChange(ended=(feed(1),), not_subscribed=2)
    assert book.symbols == set()


def test_a_topic_ends_with_its_last_channel() -> None:
    book = book_of()
    on(book, feed(1))
    on(book, feed(1), channel=12)
    assert off(book, feed(1)).ended == ()
    assert off(book, feed(1), channel=12).ended == (feed(1),)


def test_channels_are_lite_or_paused() -> None:
    book = book_of()
    on(book, feed(1))
    on(book, feed(2), channel=12)
    book.apply(FyersRequest(RequestKind.MODE, channels=(12,), is_lite=True))
    assert (book.is_full(feed(1)), book.is_lite(feed(1))) == (True, False)
    assert (book.is_full(feed(2)), book.is_lite(feed(2))) == (False, True)
    book.apply(FyersRequest(RequestKind.PAUSE, channels=(11,)))
    assert not book.is_full(feed(1))
    book.apply(FyersRequest(RequestKind.RESUME, channels=(11,)))
    assert book.is_full(feed(1))
    book.apply(FyersRequest(RequestKind.MODE, channels=(12,)))
    assert book.is_full(feed(2))


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        book_of(limit=0)


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.integers(11, 12), st.lists(st.sampled_from(sorted(KNOWN)), max_size=6)
        ),
        max_size=30,
    )
)
def test_symbols_never_exceed_the_limit(steps: list[tuple[bool, int, list[str]]]) -> None:
    book = book_of(limit=4)
    for is_end, channel, topics in steps:
        change = (off if is_end else on)(book, *topics, channel=channel)
        assert all(book.has(topic) for topic in change.added)
        assert not any(book.has(topic) for topic in change.ended)
        assert len(book.symbols) <= 4
