"""Binance spot: public market streams, JSON over one combined WebSocket per connection, no key."""
