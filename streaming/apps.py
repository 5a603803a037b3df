"""Django's entry to the streaming app."""

from functools import cache

from django.apps import AppConfig
from django.conf import settings

from brokers.context import set_standalone_sink_factory
from brokers.types import TickSink
from streaming.wire.address import bus_address
from streaming.worker.standalone import StandaloneBus

__all__ = ["StreamingConfig", "standalone_bus"]


@cache
def standalone_bus() -> StandaloneBus:
    """Return the bus of this process's adapters without a pool, on the configured address."""
    env = settings.ENV
    return StandaloneBus(bus=bus_address(env, settings.BUS_DIR))


def _standalone_sink(broker: str) -> TickSink:
    return standalone_bus().sink(broker)


class StreamingConfig(AppConfig):
    """API keys, watchlists, and the pages that show live ticks."""

    name = "streaming"
    verbose_name = "Streaming"

    def ready(self) -> None:
        """Let adapters that have no pool publish on a bus of their own; opens nothing yet."""
        set_standalone_sink_factory(_standalone_sink)
