"""The bus and the client edge: from a pool's sink to browsers and OpenAlgo clients.

Purpose: publish every tick once over ZeroMQ, carry subscriptions and their answers over a control
link, and fan ticks out to client sockets through Channels consumers.

Concurrency: the publisher may be used from any thread; everything on the gateway's side lives on
one event loop. Pure parts (topics, protocol, frames, session, groups, conflation) hold no I/O.

May import: ``brokers``. Never ``pooling`` or ``openalgo_site``.
"""
