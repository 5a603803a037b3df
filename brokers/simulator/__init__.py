"""A local exchange: a real server on loopback that speaks the brokers' wire protocols.

``kite.KiteExchange`` is Zerodha's ticker over a simulated market, ``binance.BinanceReplay`` plays a
recorded capture as Binance. Both can be made to fail by verbs and keep a record of their clients'
manners. ``listing``, ``market``, ``encoder``, ``subscriptions``, ``tape``, ``manners``, ``capture``
and ``stream_session`` are pure; ``link``, ``exchange``, ``kite`` and ``binance`` do the talking.
Nothing here is imported by the adapters, nor imports them.
"""
