"""Wants of names that could not be looked up: kept and asked again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brokers.pool_service import Holder, Want
from brokers.types import InstrumentKey

__all__ = ["UntoldWants"]

MAX_WANTS = 100_000


class UntoldWants:
    """Wants of holders while the store does not tell what they mean.

    Bounded: beyond ``max_wants`` a further one is not kept, and its holder has to be told so. Used
    on one loop only; no call waits.

    Args:
        max_wants: over all pools and holders.
    """

    def __init__(self, *, max_wants: int = MAX_WANTS) -> None:
        self._max_wants = max_wants
        # By pool and holder, then by name; the latest want of a name is the one that counts.
        self._wants: dict[tuple[str, Holder], dict[InstrumentKey, Want]] = {}
        self._count = 0  # of all of them

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<UntoldWants: {self._count} of {len(self._wants)} holders>"

    def keep(self, pool_id: str, holder: Holder, want: Want) -> bool:
        """Keep one want; tells whether there was room for it."""
        held = self._wants.get((pool_id, holder), {})
        if want.key not in held:
            if self._count >= self._max_wants:
                return False
            self._count += 1
        self._wants.setdefault((pool_id, holder), held)[want.key] = want
        return True

    def holders(self) -> list[tuple[str, Holder]]:
        """Return who waits, as (pool, holder)."""
        return list(self._wants)

    def keys(self, pool_id: str, holder: Holder) -> list[InstrumentKey]:
        """Return the names that a holder waits for."""
        return list(self._wants.get((pool_id, holder), ()))

    def take(self, pool_id: str, holder: Holder, keys: Iterable[InstrumentKey]) -> list[Want]:
        """Return the wants of ``keys`` that are still wanted, and keep them no longer."""
        held = self._wants.get((pool_id, holder))
        if held is None:
            return []
        taken = [held.pop(key) for key in list(keys) if key in held]
        self._count -= len(taken)
        if not held:
            del self._wants[pool_id, holder]
        return taken

    def release(self, pool_id: str, holder: Holder, keys: Sequence[InstrumentKey] | None) -> None:
        """Forget what a holder gives up; None: all of it."""
        self.take(pool_id, holder, self.keys(pool_id, holder) if keys is None else keys)

    def release_gateway(self, gateway: str) -> None:
        """Forget everything of a gateway that is gone."""
        for pool_id, holder in self.holders():
            if holder.gateway == gateway:
                self.release(pool_id, holder, None)

    def release_pool(self, pool_id: str) -> None:
        """Forget everything of a pool that is gone."""
        for each, holder in self.holders():
            if each == pool_id:
                self.release(pool_id, holder, None)
