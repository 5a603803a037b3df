"""The status page: how pools are and were, for people."""
