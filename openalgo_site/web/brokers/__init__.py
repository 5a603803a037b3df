"""Brokers page: a user's own broker accounts, and logging in at the brokers from here."""
