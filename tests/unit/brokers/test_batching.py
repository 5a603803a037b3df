"""Requests are cut within every bound, in order, and as few as the order allows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.batching import Bound, batches, portions
from brokers.exceptions import BrokerConfigError


def by_count(maximum: int) -> Bound[int]:
    return Bound("items", maximum, lambda item: 1)


def by_size(maximum: int) -> Bound[int]:
    return Bound("bytes", maximum, lambda item: item)


@given(st.lists(st.integers(1, 10)), st.integers(1, 5), st.integers(10, 30))
def test_every_batch_keeps_every_bound(items: list[int], count: int, size: int) -> None:
    cut = batches(items, by_count(count), by_size(size))
    assert [item for batch in cut for item in batch] == items
    assert all(len(batch) <= count and sum(batch) <= size for batch in cut)
    for batch, following in pairwise(cut):
        assert len(batch) == count or sum(batch) + following[0] > size, "cut without need"


def test_nothing_makes_no_batch() -> None:
    assert batches([], by_count(1)) == []


def test_one_item_over_a_bound_is_refused_with_the_numbers() -> None:
    with pytest.raises(BrokerConfigError, match="takes 11 bytes of a message, which may have 10"):
        batches([1, 11], by_count(5), by_size(10))


def test_portions_are_whole_in_order_and_of_what_there_was_when_they_began() -> None:
    items = [1, 2, 3, 4, 5]
    taken = []
    for part in portions(items, 2):
        taken.append(part)
        items.clear()
    assert taken == [[1, 2], [3, 4], [5]]
    assert list(portions({}, 2)) == []
