"""The local exchange as Zerodha's Kite ticker."""
