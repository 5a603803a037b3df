"""Base of the Indian brokers' exchanges: a simulated market, and who holds what of it."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Hashable
from typing import Protocol, Required, TypedDict, TypeVar

from brokers.simulator.exchange import LocalExchange, Upgrade
from brokers.simulator.link import Link
from brokers.simulator.listing import ListedInstrument
from brokers.simulator.market import Market, Quote
from brokers.simulator.pacing import TickPacing
from brokers.simulator.violations import key_label

__all__ = ["FeedLogin", "FeedLogins", "MarketArguments", "MarketExchange", "fits", "wire_names"]

NameT = TypeVar("NameT", bound=Hashable)


class FeedLogin(Protocol):
    """A login as the feed sees it: whose it is, of which app, and a token of the feed's own."""

    @property
    def user_id(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def feed_token(self) -> str: ...


class FeedLogins(Protocol):
    """The logins of a broker, by what its feed is shown of them."""

    def of_feed(self, shown: str) -> FeedLogin | None:
        """Return the login that opens the feed; None for one that has ended, or none."""

    def has_ended(self, shown: str) -> bool:
        """Tell whether it is of a login that has ended."""


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
        # The login desk's beside it, if there is one, and whether nothing else opens the feed.
        self._logins: FeedLogins | None = None
        self._takes_only_logins = False

    def take_logins(self, logins: FeedLogins, *, only: bool = False) -> None:
        """Let tokens that were made at a login work here, too, as long as they last.

        Args:
            only: nothing else works: neither the configured credential nor any.
        """
        self._logins = logins
        self._takes_only_logins = only

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
        return self._is_configured(access_token) and not self._is_expired

    def _is_configured(self, access_token: str) -> bool:
        """Tell whether a token is the configured one; any is where none is configured.

        A token of a login never is, so that one which has ended does not become any other.
        """
        if self._takes_only_logins or self._has_ended(access_token):
            return False
        return fits(access_token, self._access_token)

    def _logged_in(self, shown: str) -> FeedLogin | None:
        """Return the login that a feed is shown; None for none, or one that has ended."""
        if self._logins is None or self._is_expired:
            return None
        return self._logins.of_feed(shown)

    def _has_ended(self, shown: str) -> bool:
        """Tell whether a feed is shown a login that has ended."""
        if self._logins is None:
            return False
        is_known = self._logins.of_feed(shown) is not None
        return self._logins.has_ended(shown) or (is_known and self._is_expired)

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
