"""Logging in: password hashes in turns, and bounds on failed attempts."""
