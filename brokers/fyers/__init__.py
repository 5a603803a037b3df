"""Fyers: the data feed of API v3, a stateful binary protocol (HSM) over one WebSocket."""
