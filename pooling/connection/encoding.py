"""A round of changes as the messages that a broker's adapter makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from brokers.contract import BrokerAdapter
from brokers.exceptions import BrokerError
from brokers.types import Subscription
from pooling.subscriptions.reconciler import Batch

__all__ = ["encode_batch"]


def encode_batch(
    adapter: BrokerAdapter,
    batch: Batch,
    on_unsendable: Callable[[Subscription, BrokerError], None],
) -> list[str | bytes]:
    """Return the messages of a batch, in the order in which they are to be sent.

    One instrument that the broker's protocol cannot express does not cost the others:
    ``on_unsendable`` is told of it.
    """
    messages: list[str | bytes] = []
    if batch.unsubscribe:
        messages += adapter.unsubscribe(batch.unsubscribe)
    if batch.change_mode:
        messages += adapter.change_mode(batch.change_mode)
    if batch.subscribe:
        messages += _encode_subscribe(adapter, batch.subscribe, on_unsendable)
    return messages


def _encode_subscribe(
    adapter: BrokerAdapter,
    items: Sequence[Subscription],
    on_unsendable: Callable[[Subscription, BrokerError], None],
) -> list[str | bytes]:
    try:
        return adapter.subscribe(items)
    except BrokerError as error:
        if len(items) == 1:
            on_unsendable(items[0], error)
            return []
    return [
        message for item in items for message in _encode_subscribe(adapter, [item], on_unsendable)
    ]
