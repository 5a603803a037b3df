"""Subscriptions of one pool: who wants what, on which connection it stands, what changes. Pure."""
