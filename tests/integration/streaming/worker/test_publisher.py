"""The publisher over a real socket: counts, isolation, threads, keys."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from brokers.context import current_sink, set_standalone_sink_factory, standalone_sink
from brokers.types import InstrumentKey, TickSink
from streaming.exceptions import (
    BusAddressInUseError,
    BusError,
    CurveKeyFileError,
    CurveRequiredError,
    TopicError,
)
from streaming.ports.link import TickMessage
from streaming.wire.address import BusAddress
from streaming.wire.keys import CurveKeys, create_key_file, load_key_file
from streaming.wire.message import unpack_message
from streaming.wire.topics import BEAT_TOPIC, barrier_topic, tick_topic
from streaming.worker.barriers import SubscriptionWatch
from streaming.worker.publisher import SharedZmqPublisher
from streaming.worker.standalone import StandaloneBus
from tests.integration.streaming.bus_kit.support import (
    RawSubscriber,
    instrument,
    raw_subscriber,
    tick,
)
from tests.support import bus_at, eventually, eventually_sync

INFY = instrument("INFY")


@pytest.fixture
def publisher() -> Iterator[SharedZmqPublisher]:
    publisher = SharedZmqPublisher(bus=bus_at(), epoch=7)
    publisher.open()
    yield publisher
    publisher.close()


def arrive(publisher: SharedZmqPublisher, subscriber: RawSubscriber) -> None:
    """Publish beats until one gets through: from then on the subscriber misses nothing.

    What was published behind the first that came is on its way, and is taken, too.
    """
    subscriber.socket.setsockopt(zmq.SUBSCRIBE, BEAT_TOPIC)
    beats: list[bytes] = []

    def beat_arrives() -> bytes | None:
        beats.append(BEAT_TOPIC + b"%d" % len(beats))
        publisher.publish_beat(beats[-1].removeprefix(BEAT_TOPIC))
        return subscriber.receive(0.02)

    heard = eventually_sync(beat_arrives)
    while heard != beats[-1]:
        heard = subscriber.receive()
        assert heard is not None, "a beat was lost"


def take_all(publisher: SharedZmqPublisher, subscriber: RawSubscriber) -> list[TickMessage]:
    """Return every tick published so far; ``arrive`` was called before."""
    end = BEAT_TOPIC + b"end"
    publisher.publish_beat(b"end")
    ticks = []
    while (message := subscriber.receive()) != end:
        assert message is not None, "the beat was lost"
        ticks.append(unpack_message(message))
    return ticks


def test_a_tick_arrives_with_its_counts(publisher):
    """Topic, mode, epoch, sequence and receive time travel beside the object."""
    sink = publisher.for_pool("1", "zerodha")
    with raw_subscriber(publisher.bus, b"1/") as subscriber:
        arrive(publisher, subscriber)
        sink.publish(INFY, tick(5), 1717000000123456)
        sink.publish(INFY, tick(6), 1717000000123789)
        first, second = subscriber.take(2)
    assert first[:5] == (b"1/NSE/INFY\0", 2, 7, 1, 1717000000123456)
    assert second.sequence == 2
    assert b'"ltp":6.0' in second.body
    assert publisher.published == 2


@pytest.mark.parametrize("age_us", [0, 250])
def test_the_time_in_the_worker_is_counted_in_microseconds(publisher, age_us):
    """A tick is under way for less than a millisecond there, and even the fastest is measured."""
    sink = publisher.for_pool("1", "zerodha")
    with raw_subscriber(publisher.bus, b"1/") as subscriber:
        arrive(publisher, subscriber)
        before_us = time.time_ns() // 1000
        sink.publish(INFY, tick(5), before_us - age_us)
        after_us = time.time_ns() // 1000
        (message,) = subscriber.take(1)
    assert message.ts_received_us == before_us - age_us
    assert max(age_us, 1) <= message.published_after_us <= after_us - before_us + age_us + 1


def test_sequences_count_per_topic(publisher):
    """A gateway that takes one topic must see no gap because of another."""
    sink = publisher.for_pool("1", "zerodha")
    with raw_subscriber(publisher.bus, b"1/") as subscriber:
        arrive(publisher, subscriber)
        for symbol in ("A", "B", "A"):
            sink.publish(instrument(symbol), tick(1), 1)
        assert [(m.topic, m.sequence) for m in subscriber.take(3)] == [
            (b"1/NSE/A\0", 1),
            (b"1/NSE/B\0", 1),
            (b"1/NSE/A\0", 2),
        ]


def test_pools_and_longer_symbols_stay_apart(publisher):
    """The same symbol of another pool, or a symbol that starts alike, is another topic."""
    mine, other = publisher.for_pool("1", "zerodha"), publisher.for_pool("11", "zerodha")
    topic = tick_topic("1", InstrumentKey("NSE", "RELIANCE"))
    with raw_subscriber(publisher.bus, topic) as subscriber:
        arrive(publisher, subscriber)
        other.publish(instrument("RELIANCE"), tick(1), 1)
        mine.publish(instrument("RELIANCE-BE"), tick(2), 1)
        mine.publish(instrument("RELIANCE"), tick(3), 1)
        assert [m.topic for m in take_all(publisher, subscriber)] == [topic]


def test_many_threads_publish_without_loss_or_repetition(publisher):
    """Each topic's sequence arrives whole and in order, whoever published."""
    sink = publisher.for_pool("1", "zerodha")
    threads, each = 4, 2000

    def hammer() -> None:
        for number in range(each):
            sink.publish(instrument(f"S{number % 3}"), tick(number), 1)

    with raw_subscriber(publisher.bus, b"1/") as subscriber:
        arrive(publisher, subscriber)
        workers = [threading.Thread(target=hammer) for _ in range(threads)]
        for worker in workers:
            worker.start()
        received = subscriber.take(threads * each)
        for worker in workers:
            worker.join()
    for symbol in ("S0", "S1", "S2"):
        sequences = [m.sequence for m in received if m.topic == f"1/NSE/{symbol}\0".encode()]
        assert sequences == list(range(1, len(sequences) + 1))
    assert len(received) == threads * each


def test_the_last_value_is_kept_until_forgotten(publisher):
    """What is forgotten is never shown again, and its count goes on."""
    sink = publisher.for_pool("1", "zerodha")
    assert publisher.snapshot("1", INFY.key) is None
    assert publisher.snapshot("other", INFY.key) is None
    sink.publish(INFY, tick(5), 1)
    sink.publish(INFY, tick(6), 1)
    kept = publisher.snapshot("1", INFY.key)
    assert (kept.sequence, b'"ltp":6.0' in kept.body) == (2, True)
    sink.forget([INFY.key, InstrumentKey("NSE", "UNKNOWN")])
    assert publisher.snapshot("1", INFY.key) is None
    sink.publish(INFY, tick(7), 1)
    assert publisher.snapshot("1", INFY.key).sequence == 3


def test_a_pool_keeps_its_sink_and_its_broker(publisher):
    """Two sinks for one pool would count the same topic twice."""
    assert publisher.for_pool("1", "zerodha") is publisher.for_pool("1", "zerodha")
    with pytest.raises(ValueError, match="zerodha"):
        publisher.for_pool("1", "binance")
    with pytest.raises(TopicError):
        publisher.for_pool("a/b", "zerodha")
    assert isinstance(publisher.for_pool("1", "zerodha"), TickSink)


def test_a_second_worker_of_the_address_is_told(caplog):
    """It names what has it and the setting that moves it, and takes nothing from the first."""
    first = SharedZmqPublisher(bus=bus_at(), epoch=1)
    first.open()
    second = SharedZmqPublisher(bus=first.bus, epoch=2)
    with pytest.raises(BusAddressInUseError, match=f"{first.bus.port}.*ZMQ_PORT"):
        second.open()
    with raw_subscriber(first.bus, b"1/") as subscriber:
        arrive(first, subscriber)
    first.close()
    second.open()
    with raw_subscriber(first.bus, b"1/") as subscriber:
        arrive(second, subscriber)
    second.close()


def test_a_taken_port_is_named(keys):
    """Where there are no socket files, as between machines: which, and which setting moves it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bus = BusAddress(host="127.0.0.1", port=port, curve=keys)
        publisher = SharedZmqPublisher(bus=bus, epoch=1)
        with pytest.raises(BusAddressInUseError, match=f"{port}.*ZMQ_PORT"):
            publisher.open()
        publisher.close()


def test_publishing_before_open_and_after_close_keeps_the_last_value():
    """An adapter's late tick does no harm; a closed publisher stays closed."""
    publisher = SharedZmqPublisher(bus=bus_at(), epoch=1)
    sink = publisher.for_pool("1", "zerodha")
    sink.publish(INFY, tick(1), 1)
    publisher.open()
    publisher.open()
    publisher.close()
    publisher.close()
    sink.publish(INFY, tick(2), 1)
    assert "\n" not in repr(publisher)
    kept = publisher.snapshot("1", INFY.key)
    assert kept is not None
    assert kept.sequence == 2
    with pytest.raises(BusError):
        publisher.open()


@pytest.mark.parametrize("changes", [{"epoch": -1}, {"send_hwm": 0}])
def test_unusable_settings_are_refused(changes):
    """Before any socket exists."""
    with pytest.raises(ValueError, match=r"epoch|send_hwm"):
        SharedZmqPublisher(**({"bus": bus_at(), "epoch": 1} | changes))


def test_a_slow_subscriber_shows_every_drop_as_a_gap():
    """What a full queue lost is exactly what the sequence lacks."""
    publisher = SharedZmqPublisher(bus=bus_at(), epoch=1, send_hwm=100)
    publisher.open()
    sink = publisher.for_pool("1", "zerodha")
    with raw_subscriber(publisher.bus, b"1/", hwm=100) as subscriber:
        arrive(publisher, subscriber)
        for number in range(100_000):
            sink.publish(INFY, tick(number), 1)
        received = []

        # The burst's tail may be lost; the next tick that comes makes the last gap visible.
        def last_arrives() -> bool:
            sink.publish(INFY, tick(0), 1)
            while (data := subscriber.receive(0.05)) is not None:
                received.append(unpack_message(data))
            return bool(received) and received[-1].sequence == publisher.published

        eventually_sync(last_arrives, timeout=60)
    gaps, last = 0, 0
    for message in received:
        gaps += message.sequence - last - 1
        last = message.sequence
    assert len(received) < 100_000
    assert gaps == publisher.published - len(received)
    publisher.close()


async def test_a_barrier_is_seen_while_threads_publish(publisher):
    """Sends of other threads swallow the socket's edge; the barrier is seen all the same."""
    sink = publisher.for_pool("1", "zerodha")
    beats_wanted = []
    watch = SubscriptionWatch(publisher=publisher, on_beat_wanted=lambda: beats_wanted.append(1))
    watch.open()
    stop = threading.Event()

    def hammer() -> None:
        while not stop.wait(0.0001):
            sink.publish(INFY, tick(1), 1)

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        with raw_subscriber(publisher.bus, BEAT_TOPIC) as subscriber:
            for number in range(20):
                barrier = barrier_topic(str(number))
                subscriber.socket.setsockopt(zmq.SUBSCRIBE, barrier)
                assert await watch.wait_subscribed(barrier, 30)
                subscriber.socket.setsockopt(zmq.UNSUBSCRIBE, barrier)
            await eventually(lambda: not watch._barriers, message="barriers are forgotten")
            assert beats_wanted == [1]
        assert not await watch.wait_subscribed(barrier_topic("never"), 0.05)
    finally:
        stop.set()
        thread.join()
        watch.close()
        watch.close()
    assert not await watch.wait_subscribed(barrier_topic("late"), 5)


def test_standalone_adapters_share_a_publisher_opened_at_the_first_tick():
    """Building a sink opens nothing; two adapters of one process need one bus."""
    address = bus_at()
    bus = StandaloneBus(bus=address)
    set_standalone_sink_factory(bus.sink)
    try:
        assert current_sink() is None
        first, second = standalone_sink("zerodha"), standalone_sink("binance")
        assert address.files is not None
        assert not address.files.answers(address.ticks_name)
        first.publish(INFY, tick(1), 1)
        second.publish(INFY, tick(1), 1)
        publisher = bus.publisher()
        assert publisher.bus == address
        assert publisher.snapshot("standalone-binance", INFY.key) is not None
        second.forget([INFY.key])
        assert publisher.snapshot("standalone-binance", INFY.key) is None
        assert publisher.snapshot("standalone-zerodha", INFY.key) is not None
        rival = StandaloneBus(bus=address).sink("zerodha")
        with pytest.raises(BusAddressInUseError):
            rival.publish(INFY, tick(1), 1)
    finally:
        set_standalone_sink_factory(None)
        bus.close()
        bus.close()


@pytest.fixture
def keys(tmp_path) -> CurveKeys:
    return create_key_file(tmp_path / "bus.key")


def test_a_port_needs_keys():
    """Without them anyone in the network could read a user's ticks; on loopback anyone here."""
    for host in ("0.0.0.0", "10.1.2.3", "example.org", "[::]"):
        with pytest.raises(CurveRequiredError, match="ZMQ_CURVE_KEY_FILE"):
            BusAddress(host=host, port=5555)
    with pytest.raises(CurveRequiredError, match=r"ZMQ_SOCKET_DIR.*ZMQ_CURVE_KEY_FILE"):
        BusAddress(host="127.0.0.1", port=5555)
    for port in (0, 65_536):
        with pytest.raises(ValueError, match="is no port"):
            bus_at(port or -1)


def test_only_the_installations_key_gets_ticks(keys):
    """On the port, right key: ticks. Another client key behind the right server key, or none at
    all: nothing. On the socket file nobody asks for one.
    """
    publisher = SharedZmqPublisher(bus=bus_at(curve=keys), epoch=1)
    publisher.open()
    sink = publisher.for_pool("1", "zerodha")
    stranger_public, stranger_secret = zmq.curve_keypair()

    class Naked:
        def protect_client(self, socket: zmq.Socket[bytes]) -> None:
            pass

    class Stranger:
        def protect_client(self, socket: zmq.Socket[bytes]) -> None:
            socket.curve_publickey, socket.curve_secretkey = stranger_public, stranger_secret
            socket.curve_serverkey = keys.public_key

    try:
        with (
            raw_subscriber(publisher.bus, b"1/", keys=keys) as friend,
            raw_subscriber(publisher.bus, b"1/", keys=Stranger()) as stranger,
            raw_subscriber(publisher.bus, b"1/", keys=Naked()) as naked,
            raw_subscriber(publisher.bus, b"1/") as neighbour,
        ):
            arrive(publisher, friend)
            sink.publish(INFY, tick(5), 1)
            assert len(friend.take(1)) == 1

            def neighbour_hears() -> bytes | None:
                sink.publish(INFY, tick(6), 1)
                return neighbour.receive(0.02)

            eventually_sync(neighbour_hears)
            assert stranger.receive(0.5) is None
            assert naked.receive(0.1) is None
    finally:
        publisher.close()


def test_a_key_file_is_written_once_and_read_back(tmp_path):
    """Mode 0600, never overwritten, and its secret never printed."""
    path = tmp_path / "bus.key"
    keys = create_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key_file(path) == keys
    assert load_key_file("") is None
    assert keys.secret_key.decode() not in repr(keys)
    with pytest.raises(CurveKeyFileError):
        create_key_file(path)


@pytest.mark.parametrize("case", ["missing", "readable", "garbage", "public only"])
def test_an_unusable_key_file_is_refused(tmp_path, case):
    """Each is a configuration error that names the setting."""
    path = tmp_path / "bus.key"
    if case != "missing":
        create_key_file(path)
    if case == "readable":
        path.chmod(0o640)
    elif case == "garbage":
        path.write_text("hello")
    elif case == "public only":
        path.write_text("\n".join(path.read_text().splitlines()[:3]))
    with pytest.raises(CurveKeyFileError, match="ZMQ_CURVE_KEY_FILE"):
        load_key_file(path)


def test_a_closed_pool_hands_out_nothing_and_its_counts_go_on(publisher):
    """What was published before a pool ended is no price of the pool that comes after it."""
    other = instrument("TCS")
    old = publisher.for_pool("1", "zerodha")
    with raw_subscriber(publisher.bus, b"1/") as subscriber:
        arrive(publisher, subscriber)
        old.publish(INFY, tick(5), 1)
        old.publish(other, tick(5), 1)
        old.close()
        old.close()
        old.publish(INFY, tick(6), 1)
        old.publish(instrument("LATE"), tick(6), 1)
        assert publisher.snapshot("1", INFY.key) is None
        new = publisher.for_pool("1", "zerodha")
        assert new is not old
        assert publisher.snapshot("1", INFY.key) is None
        old.publish(INFY, tick(7), 1)
        old.forget(None)
        old.close()
        new.publish(INFY, tick(8), 1)
        assert publisher.snapshot("1", INFY.key).sequence == 2
        assert publisher.snapshot("1", other.key) is None
        heard = take_all(publisher, subscriber)
    assert [(one.topic, one.sequence, one.epoch) for one in heard] == [
        (b"1/NSE/INFY\0", 1, 7),
        (b"1/NSE/TCS\0", 1, 7),
        (b"1/NSE/INFY\0", 2, 7),
    ]


def test_a_pool_comes_back_at_another_broker(publisher):
    """An account whose broker was changed keeps its topics' counts and none of its prices."""
    publisher.for_pool("1", "zerodha").publish(INFY, tick(5), 1)
    publisher.for_pool("1", "zerodha").close()
    sink = publisher.for_pool("1", "binance")
    assert publisher.snapshot("1", INFY.key) is None
    sink.publish(INFY, tick(6), 1)
    kept = publisher.snapshot("1", INFY.key)
    assert (kept.sequence, b'"binance"' in kept.body) == (2, True)
    assert not publisher.settled_topics(10)


def test_everything_of_a_pool_can_be_forgotten_at_once(publisher):
    """Also of instruments that nobody names any more."""
    sink = publisher.for_pool("1", "zerodha")
    sink.publish(INFY, tick(5), 1)
    sink.publish(instrument("TCS"), tick(5), 1)
    sink.forget(None)
    assert publisher.snapshot("1", INFY.key) is None
    assert publisher.snapshot("1", InstrumentKey("NSE", "TCS")) is None
    sink.publish(INFY, tick(6), 1)
    assert publisher.snapshot("1", INFY.key).sequence == 2
