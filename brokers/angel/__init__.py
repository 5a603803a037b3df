"""Angel One: SmartAPI WebSocket Streaming 2.0, a binary feed over one WebSocket per connection."""
