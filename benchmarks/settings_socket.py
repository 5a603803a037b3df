"""The benchmark's settings, for a gateway that reads socket files by a ZeroMQ socket."""

from __future__ import annotations

from unittest import mock

from benchmarks.bus_reader import FileSocket
from benchmarks.settings import *  # noqa: F403

# Fails when there is no such name any more: then this would be an ordinary gateway.
mock.patch("streaming.link.peer.BusStream", FileSocket).start()
