"""The local exchange as Dhan."""
