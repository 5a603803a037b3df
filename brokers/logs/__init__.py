"""Logs: no credential in them, and one line a minute of what fails every second."""
