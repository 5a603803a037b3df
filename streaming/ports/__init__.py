"""Ports of the gateway: what the site and the bus must offer to it, as protocols."""
