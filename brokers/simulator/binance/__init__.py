"""The local exchange as Binance."""
