"""Shipped fakes for tests of pools: time that costs nothing, a store in memory, a broker in memory.

``FakeBroker`` is the other end of every ``FakeTransport``: it is given to a pool as its connector,
keeps a record of what it was asked, and fails by verbs. ``make_adapter_class`` builds the adapter
that speaks with it.
"""

from pooling.testing.adapter import FakeAdapter, make_adapter_class
from pooling.testing.broker import FakeBroker, FakeTransport
from pooling.testing.store import InMemoryAccountStore, make_instrument
from pooling.testing.times import FakeClock, MiddleOfRange, VirtualClock, VirtualTimeLoop

__all__ = [
    "FakeAdapter",
    "FakeBroker",
    "FakeClock",
    "FakeTransport",
    "InMemoryAccountStore",
    "MiddleOfRange",
    "VirtualClock",
    "VirtualTimeLoop",
    "make_adapter_class",
    "make_instrument",
]
