"""The right to make an API key for somebody: it opens the door as its owner. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Person", "may_issue_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user by what it may do."""

    id: int
    is_superuser: bool
    is_staff: bool
    permissions: frozenset[str]


def may_issue_for(actor: Person, owner: Person) -> bool:
    """Whether ``actor`` may make a key of ``owner``: its own, or that of somebody lesser.

    A superuser may make everybody's. To others nobody is lesser who is a superuser, who may do
    something that they may not, or who is staff with as much as they have.
    """
    if actor.is_superuser or actor.id == owner.id:
        return True
    if owner.is_superuser or not owner.permissions <= actor.permissions:
        return False
    return not owner.is_staff or owner.permissions < actor.permissions
