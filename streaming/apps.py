"""Django's entry to the streaming app."""

from django.apps import AppConfig

__all__ = ["StreamingConfig"]


class StreamingConfig(AppConfig):
    """API keys, watchlists, and the pages that show live ticks."""

    name = "streaming"
    verbose_name = "Streaming"
