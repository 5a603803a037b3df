"""Brokers, as TickPool knows them: value types, the adapter contract, and one folder per broker.

Purpose: turn bytes of a broker's socket into frozen ``Tick`` objects and the pool's wishes into
that broker's messages. A broker is data (limits, endpoints, mode codes) plus a few hooks.

Concurrency: adapters are sans-I/O and belong to one connection; only ``TickSink.publish`` may be
called from any thread. Sockets, reconnects and timers live in ``pooling``.

May import: nothing of this project outside ``brokers``. Codecs, symbols and types import no
Django, asyncio, zmq, websockets, time or os.
"""
