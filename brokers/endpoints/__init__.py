"""Hosts and ports: how they are written, and which may be given a credential."""
