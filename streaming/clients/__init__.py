"""Clients of the gateway: what waits for each, and when one has to go."""
