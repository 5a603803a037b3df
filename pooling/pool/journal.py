"""Journal of a pool, for people: log lines at milestones, and notes that are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from brokers.logs.failing import Failing
from brokers.pool_service import Outcome
from brokers.settings import SettingValue
from brokers.words import counted, verb
from pooling.clock import Clock
from pooling.contracts import AccountSpec
from pooling.lifecycle import ConnectionState
from pooling.subscriptions.capacity import Limits
from pooling.subscriptions.renaming import Renamed

__all__ = ["PoolJournal"]

logger = logging.getLogger("pooling")

MILESTONE_SYMBOLS = 100
NAMED = 5  # symbols that a line names


class PoolJournal:
    """Words for what happens in one pool; never a tick, never a credential.

    Each line carries ``action``, a name for what happened that does not change with its words.

    Args:
        pool_id: whose journal it is.
        clock: throttles repeats.
        note: keeps (kind, message); called on the loop only.
        describe_peaks: returns the pool's peaks in words.
    """

    def __init__(
        self,
        *,
        pool_id: str,
        clock: Clock,
        note: Callable[[str, str], None],
        describe_peaks: Callable[[], str],
    ) -> None:
        self._pool_id = pool_id
        self._clock = clock
        self._note = note
        self._describe_peaks = describe_peaks
        # Refusals for want of room, as the log knows of them; any thread, and a line too many does
        # no harm.
        self._refusing = Failing()

    def pool_started(self, spec: AccountSpec, limits: Limits) -> None:
        logger.info(
            "pool %s started: broker %s, %d connections of %d symbols, linger %g s, revision %d",
            self._pool_id,
            spec.broker,
            limits.max_connections,
            limits.symbols_per_connection,
            spec.options.linger_seconds,
            spec.options.revision,
            extra={
                "action": "pool_started",
                "max_connections": limits.max_connections,
                "symbols_per_connection": limits.symbols_per_connection,
            },
        )

    def pool_closed(self) -> None:
        peaks = self._describe_peaks()
        logger.info(
            "pool %s closed; peaks: %s",
            self._pool_id,
            peaks,
            extra={"action": "pool_closed", "peaks": peaks},
        )

    def config_applied(self, limits: Limits, revision: int) -> None:
        message = (
            f"revision {revision}: {counted(limits.max_connections, 'connection')} of "
            f"{counted(limits.symbols_per_connection, 'symbol')}"
        )
        logger.info(
            "pool %s applied %s",
            self._pool_id,
            message,
            extra={"action": "config_applied", "revision": revision},
        )
        self._note("config_applied", message)

    def settings_applied(self, settings: Sequence[tuple[str, SettingValue]]) -> None:
        changed = ", ".join(f"{name}={value}" for name, value in settings)
        message = f"settings: {changed or 'the defaults'}"
        logger.info(
            "pool %s applied %s", self._pool_id, message, extra={"action": "settings_applied"}
        )
        self._note("settings_applied", message)

    def names_followed(self, renamed: Renamed) -> None:
        ended = {f"{each.key}" for each in renamed.ended}
        named = f" ({', '.join(sorted(ended)[:NAMED])})" if ended else ""
        message = (
            f"instruments changed: {counted(len(ended), 'symbol')} ended{named}, "
            f"{len(renamed.renamed)} subscribed by another token of the broker's"
        )
        logger.info("pool %s: %s", self._pool_id, message, extra={"action": "names_followed"})
        self._note("names_followed", message)

    def credentials_renewed(self, version: int) -> None:
        logger.info(
            "pool %s tries credential version %d",
            self._pool_id,
            version,
            extra={"action": "credentials_renewed"},
        )
        self._note("credentials_changed", f"trying the new credential (version {version})")

    def auth_required(self, reason: str) -> None:
        logger.error(
            "pool %s needs a new credential: %s",
            self._pool_id,
            reason,
            extra={"action": "auth_required"},
        )
        self._note("auth_required", reason)

    def symbols(self, before: int, after: int) -> None:
        """Log each further hundred of symbols. Any thread."""
        if after // MILESTONE_SYMBOLS > before // MILESTONE_SYMBOLS:
            logger.info(
                "pool %s carries %d symbols",
                self._pool_id,
                after,
                extra={"action": "symbols_milestone", "symbols": after},
            )

    def capacity_reached(self, full: Sequence[Outcome]) -> str | None:
        """Log refusals for want of room, once a minute; returns what to note. Any thread."""
        if not self._refusing.fails(self._clock.monotonic()):
            return None
        message = f"{counted(len(full), 'symbol')} refused: {full[0].message}"
        logger.warning(
            "pool %s reached its capacity; %s",
            self._pool_id,
            message,
            extra={"action": "capacity_reached"},
        )
        return message

    def modes_changed(self, raised: int, lowered: int) -> None:
        if raised or lowered:
            logger.info(
                "pool %s changed modes: %d raised, %d lowered",
                self._pool_id,
                raised,
                lowered,
                extra={"action": "modes_changed", "raised": raised, "lowered": lowered},
            )

    def connection_opened(
        self, slot: int, *, others: int, limits: Limits, is_warm: bool = False
    ) -> None:
        why = "the others are full" if others else "the first symbols came"
        reason = "it is kept warm" if is_warm else why
        logger.info(
            "pool %s opens connection %d of %d: %s",
            self._pool_id,
            slot,
            limits.max_connections,
            reason,
            extra={"action": "connection_opened", "slot": slot, "reason": reason},
        )

    def connection_closed(self, slot: int) -> None:
        logger.info(
            "pool %s closes connection %d, which carries nothing",
            self._pool_id,
            slot,
            extra={"action": "connection_closed"},
        )

    def displaced(self, symbols: int, limits: Limits) -> None:
        message = (
            f"{counted(symbols, 'symbol')} {verb(symbols, 'has', 'have')} no place any more: "
            f"{counted(limits.max_connections, 'connection')} of "
            f"{counted(limits.symbols_per_connection, 'symbol')}"
        )
        logger.warning(
            "pool %s: %s", self._pool_id, message, extra={"action": "displaced", "symbols": symbols}
        )
        self._note("displaced", message)

    def paused(self, connections: int) -> None:
        logger.info(
            "pool %s paused; closing %s",
            self._pool_id,
            counted(connections, "connection"),
            extra={"action": "paused"},
        )
        self._note("paused", f"{counted(connections, 'connection')} closed")

    def resumed(self) -> None:
        logger.info("pool %s resumed", self._pool_id, extra={"action": "resumed"})
        self._note("resumed", "connections open again as symbols need them")

    def kept_up(self, what: str) -> None:
        logger.info("pool %s: %s", self._pool_id, what, extra={"action": "upkeep"})
        self._note("upkeep", what)

    def connected(self, slot: int) -> None:
        logger.info(
            "connection %s/%d is connected", self._pool_id, slot, extra={"action": "connected"}
        )
        self._note("connected", f"connection {slot}")

    def troubled(self, slot: int, state: ConnectionState, reason: str) -> None:
        logger.warning(
            "connection %s/%d is %s: %s",
            self._pool_id,
            slot,
            state,
            reason,
            extra={"action": "troubled"},
        )

    def lost(self, slot: int, live_symbols: int, reason: str) -> None:
        peaks = self._describe_peaks()
        logger.warning(
            "connection %s/%d lost with %s: %s; peaks: %s",
            self._pool_id,
            slot,
            counted(live_symbols, "live symbol"),
            reason,
            peaks,
            extra={"action": "lost", "slot": slot, "symbols": live_symbols, "peaks": peaks},
        )
        self._note("lost", f"connection {slot}: {reason}")

    def rejected(self, slot: int, error: Exception) -> None:
        logger.warning(
            "connection %s/%d: the broker refused subscriptions: %.200s",
            self._pool_id,
            slot,
            error,
            extra={"action": "rejected"},
        )

    def broker_says(self, text: str) -> None:
        logger.info(
            "pool %s: the broker says: %.200s", self._pool_id, text, extra={"action": "broker_says"}
        )
