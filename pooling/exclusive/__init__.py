"""Exclusive connections: lent to one holder at a time, checked, reused and closed."""
