"""The local exchange as Upstox."""
