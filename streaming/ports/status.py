"""The statuses that a status page asks for, and who answers it.

``openalgo_site/web/status/source.py`` answers from the database; tests use a dictionary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

__all__ = ["StatusSource", "StatusView"]


class StatusView(NamedTuple):
    """One user's look at the pools: a page of those that match ``search``, from page 1."""

    user_id: int
    page: int = 1
    search: str = ""


class StatusSource(Protocol):
    """Knows how pools and gateways are. Coroutines may be cancelled."""

    async def read(
        self, views: Collection[StatusView], *, gateway: str
    ) -> Mapping[StatusView, str]:
        """Return the whole ``pool_status`` object of each view, of one common moment.

        Who may see what is decided here and at every call: a permission that is taken away is gone
        from the next answer. A view whose user is gone is left out.

        Args:
            gateway: the id of the gateway that asks, so that a client may see which one serves it.

        Raises:
            StatusUnavailableError: the database does not answer.
        """
