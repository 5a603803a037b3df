"""Logins at brokers, as far as they can be told without asking one: requests, answers, codes."""
