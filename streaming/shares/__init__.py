"""Shares of the process: how much one user may take, and whose turn it is."""
