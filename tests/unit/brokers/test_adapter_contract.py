"""What every shipped adapter keeps to, whatever its broker."""

from __future__ import annotations

import io
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from brokers._template.connection import TemplateAdapter
from brokers.context import current_sink, pooled_creation, set_standalone_sink_factory
from brokers.contract import BrokerAdapter, Credentials
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerProtocolError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from brokers.registry import BrokerRegistry, default_registry
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Subscription, TickSink
from tests.unit.brokers.broker_frames import subscription_to

# The broker to copy is held to the contract, too, or copies would start with its faults.
EVERY_BROKER = pytest.mark.parametrize("adapter_class", [*default_registry(), TemplateAdapter])


@pytest.fixture
def standalone_sinks() -> Iterator[list[tuple[str, RecordingSink]]]:
    """The sinks that the bus's factory was asked for, with the broker's name."""
    made: list[tuple[str, RecordingSink]] = []

    def make(broker: str) -> TickSink:
        made.append((broker, RecordingSink()))
        return made[-1][1]

    set_standalone_sink_factory(make)
    yield made
    set_standalone_sink_factory(None)


# Whose control messages are bytes.
BINARY_BROKERS = {"fyers", "upstox"}


def items(adapter_class: type[BrokerAdapter], count: int, mode: FeedMode) -> list[Subscription]:
    return [subscription_to(adapter_class, at + 1, mode) for at in range(count)]


def test_the_recording_sink_is_a_sink() -> None:
    assert isinstance(RecordingSink(), TickSink)


@EVERY_BROKER
class TestEveryBroker:
    def test_its_own_endpoint_is_allowed(self, adapter_class: type[BrokerAdapter]) -> None:
        adapter_class.check_endpoint(adapter_class.capabilities.default_endpoint)
        adapter_class.check_endpoint("ws://127.0.0.1:9010")
        adapter_class.check_endpoint("ws://127.0.0.1:9010/relay?site=2")

    def test_a_credential_in_its_endpoint_is_refused(
        self, adapter_class: type[BrokerAdapter]
    ) -> None:
        names = {field.name for field in adapter_class.capabilities.credential_fields}
        names |= adapter_class.query_names
        for name in names:
            parts = name.split("_")
            camel = parts[0] + "".join(part.title() for part in parts[1:])
            for written in (name, camel, name.upper()):
                with pytest.raises(BrokerConfigError, match="fields of its own"):
                    adapter_class.check_endpoint(f"wss://x.test/feed?{written}=planted")

    def test_its_capabilities_are_sound(self, adapter_class: type[BrokerAdapter]) -> None:
        capabilities = adapter_class.capabilities
        assert capabilities.exchanges
        assert capabilities.max_connections >= 1
        assert capabilities.batch_size >= 1
        assert capabilities.max_message_bytes >= 125
        assert urlsplit(capabilities.default_endpoint).scheme == "wss"
        assert urlsplit(capabilities.http_endpoint).scheme == "https"
        assert (capabilities.heartbeat_seconds or 0) < capabilities.liveness_timeout_seconds
        assert adapter_class.master_url(None).startswith(capabilities.http_endpoint)
        urls = adapter_class.master_urls("http://127.0.0.1:1/")
        assert urls[0] == adapter_class.master_url("http://127.0.0.1:1/")
        for url in urls:
            assert url.startswith("http://127.0.0.1:1/")
            assert "//" not in url.removeprefix("http://")

    def test_a_higher_mode_never_costs_less(self, adapter_class: type[BrokerAdapter]) -> None:
        instrument = subscription_to(adapter_class, 1, FeedMode.LTP).instrument
        costs = [adapter_class.cost(instrument, mode) for mode in FeedMode]
        assert costs == sorted(costs)
        assert costs[-1] <= adapter_class.capabilities.symbols_per_connection

    def test_built_in_a_pool_it_uses_the_pools_sink(
        self,
        adapter_class: type[BrokerAdapter],
        standalone_sinks: list[tuple[str, RecordingSink]],
    ) -> None:
        """Also after the block has ended, and the inner of two blocks wins."""
        outer, inner = RecordingSink(), RecordingSink()
        with pooled_creation(outer), pooled_creation(inner):
            adapter = adapter_class()
        assert adapter.sink is inner
        assert current_sink() is None
        assert standalone_sinks == []

    def test_built_alone_it_asks_once_for_a_sink_of_its_own(
        self,
        adapter_class: type[BrokerAdapter],
        standalone_sinks: list[tuple[str, RecordingSink]],
    ) -> None:
        adapter = adapter_class()
        assert standalone_sinks == [], "nothing is opened by a constructor"
        assert adapter.sink is adapter.sink
        assert [name for name, _ in standalone_sinks] == [adapter_class.capabilities.name]

    def test_built_alone_without_a_bus_it_says_what_to_do(
        self, adapter_class: type[BrokerAdapter], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The site registers its own bus as soon as Django has loaded its apps.
        monkeypatch.setattr("brokers.context._factory", None)
        with pytest.raises(RuntimeError, match="pooled_creation"):
            _ = adapter_class().sink

    def test_no_items_need_no_message(self, adapter_class: type[BrokerAdapter]) -> None:
        adapter = adapter_class(sink=RecordingSink())
        assert adapter.subscribe([]) == []
        assert adapter.unsubscribe([]) == []
        assert adapter.change_mode([]) == []

    @pytest.mark.parametrize("mode", list(FeedMode))
    def test_control_messages_are_of_one_kind(
        self, adapter_class: type[BrokerAdapter], mode: FeedMode
    ) -> None:
        adapter = adapter_class(sink=RecordingSink())
        some = items(adapter_class, 1200, mode)
        messages = adapter.subscribe(some) + adapter.unsubscribe(some)
        assert messages
        kind = bytes if adapter_class.capabilities.name in BINARY_BROKERS else str
        assert all(isinstance(message, kind) for message in messages)

    @given(
        widths=st.lists(st.integers(1, 30), min_size=1, max_size=600),
        mode=st.sampled_from(FeedMode),
        other=st.sampled_from(FeedMode),
    )
    @example(widths=[30] * 600, mode=FeedMode.DEPTH, other=FeedMode.QUOTE)
    @settings(max_examples=25)
    def test_no_control_message_is_longer_than_the_broker_takes(
        self,
        adapter_class: type[BrokerAdapter],
        widths: list[int],
        mode: FeedMode,
        other: FeedMode,
    ) -> None:
        """Whatever the names' lengths are, and with the longest modes."""
        adapter = adapter_class(sink=RecordingSink())
        wanted = [
            subscription_to(adapter_class, 10 ** (width - 1) + at, mode)
            for at, width in enumerate(widths)
        ]
        changed = [Subscription(each.instrument, other) for each in wanted]
        messages = [
            *adapter.subscribe(wanted),
            *adapter.change_mode(list(zip(wanted, changed, strict=True))),
            *adapter.unsubscribe(changed),
        ]
        longest = max(len(m.encode() if isinstance(m, str) else m) for m in messages)
        assert longest <= adapter.capabilities.max_message_bytes

    def test_malformed_text_is_a_protocol_error(self, adapter_class: type[BrokerAdapter]) -> None:
        adapter = adapter_class(sink=RecordingSink())
        with pytest.raises(BrokerProtocolError):
            adapter.receive("{", 0)

    def test_a_master_of_something_else_is_a_protocol_error(
        self, adapter_class: type[BrokerAdapter]
    ) -> None:
        with pytest.raises(BrokerProtocolError):
            list(adapter_class.parse_master(io.BytesIO(b"<html>sorry</html>")))

    def test_a_missing_credential_is_a_configuration_error(
        self, adapter_class: type[BrokerAdapter]
    ) -> None:
        adapter = adapter_class(sink=RecordingSink())
        fields = [field.name for field in adapter_class.capabilities.credential_fields]
        for missing in fields:
            values = {name: "x" for name in fields if name != missing}
            with pytest.raises(BrokerConfigError, match=missing):
                adapter.handshake(Credentials(values))
        adapter.handshake(Credentials(dict.fromkeys(fields, "x")))

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (401, BrokerAuthError),
            (403, BrokerAuthError),
            (429, BrokerRateLimitError),
            (302, BrokerUnavailableError),
            (500, BrokerUnavailableError),
        ],
    )
    def test_a_refused_upgrade_is_typed(
        self, adapter_class: type[BrokerAdapter], status: int, error: type[Exception]
    ) -> None:
        adapter = adapter_class(sink=RecordingSink())
        assert type(adapter.refused(status, {}, b"")) is error

    def test_what_keeps_a_link_alive_is_short(self, adapter_class: type[BrokerAdapter]) -> None:
        message = adapter_class(sink=RecordingSink()).keepalive()
        assert len(message or "") <= min(125, adapter_class.capabilities.max_message_bytes)


@pytest.mark.parametrize("adapter_class", list(default_registry()))
@pytest.mark.parametrize(
    ("status", "kind"), [(429, BrokerRateLimitError), (503, BrokerUnavailableError)]
)
def test_a_refusal_says_how_long_to_wait(
    adapter_class: type[BrokerAdapter],
    status: int,
    kind: type[BrokerRateLimitError | BrokerUnavailableError],
) -> None:
    error = adapter_class(sink=RecordingSink()).refused(status, {"Retry-After": "30"}, b"")
    assert isinstance(error, kind)
    assert error.retry_after_seconds == 30.0


def test_a_broker_is_registered_once() -> None:
    registry = BrokerRegistry()
    adapter_class = next(iter(default_registry()))
    registry.register(adapter_class)
    with pytest.raises(ValueError, match="twice"):
        registry.register(adapter_class)


def test_an_unknown_broker_names_the_known_ones() -> None:
    with pytest.raises(BrokerConfigError, match=", ".join(default_registry().names())):
        default_registry().get("nobody")
