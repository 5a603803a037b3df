"""The Django site: settings, URLs and the ASGI application that joins pooling and streaming."""

__version__ = "0.1.0"
