"""The want table: replacing, counting topics over clients, forgetting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.pool_service import Want
from brokers.types import FeedMode, InstrumentKey
from streaming.exceptions import TopicError
from streaming.link.wants import WantTable
from streaming.wire.topics import tick_topic


def want(symbol: str, mode: FeedMode = FeedMode.QUOTE) -> Want:
    return Want(InstrumentKey("NSE", symbol), mode)


def test_a_want_replaces_the_clients_earlier_one():
    """One instrument, one wish; the topic is new only once."""
    table = WantTable()
    assert table.put("1", "c", [want("A")]) == [b"1/NSE/A\0"]
    deeper = want("A", FeedMode.DEPTH)
    assert table.put("1", "c", [deeper]) == []
    assert table.get("1", "c", deeper.key) is deeper
    assert table.get("1", "other", deeper.key) is None


def test_a_bad_key_notes_nothing():
    """All or nothing, so that nothing half noted is left."""
    table = WantTable()
    with pytest.raises(TopicError):
        table.put("1", "c", [want("A"), want("\0")])
    assert table.clients("1") == []


def test_nothing_wanted_leaves_nothing():
    """A client without wants, and a pool without clients, are forgotten."""
    table = WantTable()
    table.put("1", "c", [])
    assert table.clients("1") == []
    table.put("1", "c", [want("A")])
    assert table.drop("1", "c", [want("A").key, want("B").key]) == [b"1/NSE/A\0"]
    assert table.drop("2", "c", [want("A").key]) == []
    assert table.clients("1") == []
    assert table.instruments("1") == []


_steps = st.lists(
    st.tuples(st.booleans(), st.sampled_from("12"), st.sampled_from("ab"), st.sampled_from("XYZ"))
)


@given(_steps)
def test_topics_open_and_close_with_their_holders(steps):
    """A topic is announced when its first holder comes and when its last one goes."""
    table = WantTable()
    model: set[tuple[str, str, str]] = set()
    opened: set[bytes] = set()
    for adding, pool_id, client, symbol in steps:
        key = InstrumentKey("NSE", symbol)
        if adding:
            new = table.put(pool_id, client, [want(symbol)])
            model.add((pool_id, client, symbol))
            assert not opened.intersection(new)
            opened.update(new)
        else:
            gone = table.drop(pool_id, client, [key])
            model.discard((pool_id, client, symbol))
            assert opened.issuperset(gone)
            opened.difference_update(gone)
        assert opened == {tick_topic(pool, InstrumentKey("NSE", one)) for pool, _, one in model}
        for pool in "12":
            assert set(table.clients(pool)) == {client for p, client, _ in model if p == pool}
            assert {one.symbol for one in table.instruments(pool)} == {
                one for p, _, one in model if p == pool
            }


def test_what_many_clients_want_alike_is_there_once():
    """Once it is settled: before, the object says which question an answer is to."""
    table = WantTable()
    asked = {client: want("A") for client in ("a", "b", "deeper")}
    asked["deeper"] = want("A", FeedMode.DEPTH)
    for client, one in asked.items():
        table.put("1", client, [one])
    for client, one in asked.items():
        assert table.get("1", client, one.key) is one
        table.share("1", client, [one])
    kept = {client: table.get("1", client, one.key) for client, one in asked.items()}
    assert kept == asked
    assert kept["a"] is kept["b"]
    again = want("A")
    table.put("1", "b", [again])
    table.share("1", "b", [asked["b"]])
    assert table.get("1", "b", again.key) is again, "another question is under way"
    table.drop("1", "a", [again.key])
    assert table.get("1", "b", again.key) is again
