"""Pools of broker connections: who may hold which subscription on which connection.

Purpose: own the scarce market-data sockets of each broker account, fill them well, keep them alive,
and remember limits, peaks and history in Django.

Concurrency: a ``ConnectionPool`` has one lock around its pure state (allocator, tracker); decisions
are made inside it and I/O happens outside, on the worker's loop. Public methods of the pool may be
called from any thread.

Lifecycle: ``PoolWorker.open`` → pools open → connections open as symbols need them → ``close``
drains.

May import: ``brokers``. Never ``streaming`` or ``openalgo_site``; only the commands in
``management/commands`` join this package with the bus.
"""
