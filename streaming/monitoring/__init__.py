"""Figures of gateways and workers for people and for Prometheus."""
