"""The local exchange as Fyers."""
