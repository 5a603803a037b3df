"""What every client of a gateway wants, per pool, with topics counted over clients. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brokers.feed import Want
from brokers.types import InstrumentKey
from streaming.wire.topics import tick_topic

__all__ = ["WantTable"]


class WantTable:
    """The gateway's account of its wants: what to tell a new worker, which topics to hear."""

    def __init__(self) -> None:
        self._wants: dict[str, dict[str, dict[InstrumentKey, Want]]] = {}
        self._holders: dict[bytes, int] = {}

    def put(self, pool_id: str, client: str, wants: Sequence[Want]) -> list[bytes]:
        """Note wants, replacing earlier ones for the same keys; return topics nobody held before.

        Raises:
            TopicError: a key cannot be a topic; nothing of the call is noted.
        """
        topics = [tick_topic(pool_id, want.key) for want in wants]
        held = self._wants.setdefault(pool_id, {}).setdefault(client, {})
        added = []
        for want, topic in zip(wants, topics, strict=True):
            if want.key not in held:
                count = self._holders.get(topic, 0)
                self._holders[topic] = count + 1
                if count == 0:
                    added.append(topic)
            held[want.key] = want
        self._tidy(pool_id, client)
        return added

    def drop(self, pool_id: str, client: str, keys: Iterable[InstrumentKey]) -> list[bytes]:
        """Strike out wants; return the topics that nobody holds any more."""
        held = self._wants.get(pool_id, {}).get(client, {})
        topics = []
        for key in list(keys):
            if held.pop(key, None) is None:
                continue
            topic = tick_topic(pool_id, key)
            self._holders[topic] -= 1
            if self._holders[topic] == 0:
                del self._holders[topic]
                topics.append(topic)
        self._tidy(pool_id, client)
        return topics

    def get(self, pool_id: str, client: str, key: InstrumentKey) -> Want | None:
        """Return one want, or None."""
        return self._wants.get(pool_id, {}).get(client, {}).get(key)

    def keys(self, pool_id: str, client: str) -> list[InstrumentKey]:
        """Return the keys that a client wants in a pool."""
        return list(self._wants.get(pool_id, {}).get(client, {}))

    def clients(self, pool_id: str) -> list[str]:
        """Return the clients that want something of a pool."""
        return list(self._wants.get(pool_id, {}))

    def instruments(self, pool_id: str) -> list[InstrumentKey]:
        """Return what is wanted of a pool, each instrument once."""
        seen: dict[InstrumentKey, None] = {}
        for held in self._wants.get(pool_id, {}).values():
            seen.update(dict.fromkeys(held))
        return list(seen)

    def _tidy(self, pool_id: str, client: str) -> None:
        clients = self._wants.get(pool_id)
        if clients is None:
            return
        if not clients.get(client, True):
            del clients[client]
        if not clients:
            del self._wants[pool_id]
