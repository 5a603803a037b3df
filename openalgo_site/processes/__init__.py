"""Processes: workers and gateways, started, watched and stopped."""
