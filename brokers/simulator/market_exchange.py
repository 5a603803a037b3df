"""Base of the Indian brokers' exchanges: a simulated market, and who holds what of it."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Hashable
from typing import Required, TypedDict, TypeVar

from brokers.simulator.exchange import LocalExchange, Upgrade
from brokers.simulator.link import Link
from brokers.simulator.listing import ListedInstrument
from brokers.simulator.login.tokens import Issued, TokenBook
from brokers.simulator.market import Market, Quote
from brokers.simulator.pacing import TickPacing
from brokers.simulator.violations import key_label

__all__ = ["MarketArguments", "MarketExchange", "fits", "wire_names"]

NameT = TypeVar("NameT", bound=Hashable)


class MarketArguments(TypedDict, total=False):
    """Arguments that every ``MarketExchange`` takes, as a broker's own passes them on."""

    market: Required[Market]
    api_key: str
    access_token: str
    rate: float
    seed: int
    port: int
    control_token: str
    clock: Callable[[], float]


class MarketExchange(LocalExchange):
    """A local exchange over the simulated market.

    It knows which connection holds which instrument and steps the market; a broker's exchange says
    how subscriptions arrive and how quotes leave. Instruments are named by the market's own
    ``instrument_token`` in here, whatever the broker calls them on the wire.

    Args:
        market: what trades; the exchange steps it.
        api_key: the only valid one, where the broker has keys; empty accepts any that is not.
        access_token: the only valid one; empty accepts any that is not.
        rate: ticks per second over all subscribed instruments together, see ``TickPacing``; 0
            freezes the market, so that only what is sent on subscribing arrives.
        seed: of the order in which instruments tick.
    """

    def __init__(
        self,
        *,
        market: Market,
        api_key: str = "",
        access_token: str = "",
        rate: float = 2000.0,
        seed: int = 1,
        port: int = 0,
        control_token: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(port=port, control_token=control_token, clock=clock)
        self.market = market
        self._pacing = TickPacing(rate=rate, rng=random.Random(seed))  # noqa: S311 - no secret
        # Connections by what they hold, and what they hold by connection.
        self._holders: dict[int, dict[Link, None]] = {}
        self._held: dict[Link, set[int]] = {}
        # The key of each connection, as the record calls it; the oldest first.
        self._labels: dict[Link, str] = {}
        self._seed = seed
        self._api_key = api_key
        # The valid credential, and whether ``expire_token`` has ended it.
        self._access_token = access_token
        self._is_expired = False
        self._logins: TokenBook | None = None  # of the login desk beside it, if there is one

    def take_logins(self, tokens: TokenBook) -> None:
        """Let tokens that were made at a login work here, too, as long as they last."""
        self._logins = tokens

    # Verbs

    def set_rate(self, rate: float) -> None:
        """Change the ticks per second over all instruments; 0 freezes the market."""
        self._pacing.set_rate(rate)

    def expire_token(self) -> None:
        """Refuse every credential from now on, as the broker does; open connections stay."""
        self._is_expired = True

    def set_token(self, access_token: str) -> None:
        """Make this the valid access token, and end an expiry."""
        self._access_token = access_token
        self._is_expired = False

    # What a broker's exchange fills in

    @abstractmethod
    def _ticked(self, quote: Quote, holders: Collection[Link]) -> None:
        """Note what each holder gets of a quote that has just changed; ``_flush`` sends it."""

    @abstractmethod
    def _flush(self, now: float) -> None:
        """Send what this turn's quotes came to, and keepalives that are due at ``now``."""

    # What it uses

    def _is_valid(self, access_token: str) -> bool:
        """Tell whether a token is the valid one and has not expired, or is of a login."""
        if self._logged_in(access_token) is not None:
            return True
        return fits(access_token, self._access_token) and not self._is_expired

    def _logged_in(self, access_token: str) -> Issued | None:
        """Return what a token of a login stands for; None for any other, or one that has ended."""
        return None if self._logins is None else self._logins.of(access_token)

    def _hold(self, link: Link, token: int) -> None:
        """Let an instrument tick to a connection from now on; idempotent."""
        held = self._held[link]
        if token not in held:
            held.add(token)
            self._holders.setdefault(token, {})[link] = None
            self._pacing.add(token)

    def _let_go(self, link: Link, token: int) -> None:
        """End ``_hold``; idempotent."""
        held = self._held[link]
        if token in held:
            held.discard(token)
            holders = self._holders[token]
            del holders[link]
            if not holders:
                del self._holders[token]
            self._pacing.discard(token)

    def _connections_of(self, key: str) -> list[Link]:
        """Return the open connections of a key, the oldest first."""
        label = key_label(key)
        return [link for link, each in self._labels.items() if each == label]

    # What the base asks for; a broker's exchange extends ``_opened`` and ``_closed``

    def _opened(self, link: Link, upgrade: Upgrade) -> None:
        self._held[link] = set()
        self._labels[link] = key_label(self._key(upgrade))
        link.last_sent = link.loop.time()

    def _closed(self, link: Link) -> None:
        for token in tuple(self._held[link]):
            self._let_go(link, token)
        del self._held[link]
        del self._labels[link]

    def _turn(self, now: float) -> None:
        now_s = int(self.clock())
        for token in self._pacing.due(now):
            quote = self.market.step(token, now_s)
            self._ticked(quote, self._holders[token])
        self._flush(now)


def fits(given: str, wanted: str) -> bool:
    """Tell whether a part of a credential is taken: as wanted, or any where none is wanted."""
    return bool(given) and given == (wanted or given)


def wire_names(
    market: Market, name_of: Callable[[ListedInstrument], NameT | None]
) -> tuple[dict[NameT, int], dict[int, NameT]]:
    """Return the market's token by the broker's name, and the name by the token.

    Without the instruments that the broker does not have, which ``name_of`` gives no name.
    """
    named = ((name_of(item), item.instrument_token) for item in market.instruments())
    tokens = {name: token for name, token in named if name is not None}
    return tokens, {token: name for name, token in tokens.items()}
