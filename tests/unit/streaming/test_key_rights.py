"""Whose API key somebody may make."""

from __future__ import annotations

import pytest

from streaming.key_rights import Person, may_issue_for


def person(number: int, *permissions: str, staff: bool = True, root: bool = False) -> Person:
    return Person(id=number, is_superuser=root, is_staff=staff, permissions=frozenset(permissions))


OLGA = person(1, "add_apikey", "view_pool")


@pytest.mark.parametrize(
    ("owner", "may"),
    [
        (OLGA, True),
        (person(2, staff=False), True),
        (person(2, "view_pool", staff=False), True),
        (person(2, "view_pool"), True),
        (person(2, "view_pool", "add_apikey"), False),
        (person(2, "view_pool", "operate", staff=False), False),
        (person(2, "operate"), False),
        (person(2, root=True, staff=False), False),
    ],
)
def test_ones_own_and_those_of_lesser_users(owner: Person, may: bool) -> None:
    assert may_issue_for(OLGA, owner) is may
    assert may_issue_for(person(9, root=True), owner)
