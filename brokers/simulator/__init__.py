"""A local exchange: a real server on loopback that speaks the brokers' wire protocols.

A folder for each broker that it plays: an Indian one over a simulated market, Binance from a
recorded capture. Each can be made to fail by verbs, and keeps a record of what its clients did.
``link``, every ``exchange`` and ``runner`` do the talking; the rest is pure. Nothing here is
imported by the adapters, nor imports them.
"""
