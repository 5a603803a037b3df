"""Counts with their nouns and verbs."""

from __future__ import annotations

import pytest

from brokers.words import counted, verb


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 symbols move"),
        (1, "1 symbol moves"),
        (2, "2 symbols move"),
        (8900, "8,900 symbols move"),
    ],
)
def test_a_count_agrees_with_its_noun_and_verb(number: int, text: str) -> None:
    assert f"{counted(number, 'symbol')} {verb(number, 'moves', 'move')}" == text


def test_a_noun_may_have_a_plural_of_its_own() -> None:
    assert [counted(each, "process", plural="processes") for each in (1, 2)] == [
        "1 process",
        "2 processes",
    ]
