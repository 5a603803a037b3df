"""Zerodha: Kite Connect v3 market data, a binary protocol over one WebSocket per connection."""
