"""Upstox: market data feed V3, protobuf over one WebSocket per connection."""
