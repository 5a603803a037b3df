"""Dhan: the live market feed, version 2, and the full market depth of 20 and 200 levels."""
