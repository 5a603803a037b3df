"""Adapters: what streaming and pooling ask of the site, on Django's database."""
