"""Instruments: masters loaded into the database, and found again by name."""
