"""The record of what clients did, and the verbs as text."""

from __future__ import annotations

import msgspec
import pytest

from brokers.simulator.control import VERBS, ControlError, run_verb
from brokers.simulator.violations import Recorder, key_label
from brokers.simulator.zerodha.subscriptions import Change


def test_the_record_counts_connections_by_key_without_holding_the_key():
    recorder = Recorder()
    first = recorder.opened(id=1, api_key="secret-key")
    recorder.opened(id=2, api_key="secret-key")
    recorder.closed(first)
    recorder.opened(id=3, api_key="other")
    recorder.refused(status=429, api_key="secret-key")
    record = recorder.to_record()
    key = record.keys[key_label("secret-key")]
    assert (key.opened, key.open, key.peak, key.refused) == (2, 1, 2, 1)
    assert (record.opened, record.open, record.peak_connections) == (3, 2, 2)
    assert b"secret" not in msgspec.json.encode(record)


def test_messages_are_counted_and_their_busiest_second_kept():
    recorder = Recorder()
    connection = recorder.opened(id=1, api_key="k")
    for now in (10.0, 10.1, 10.9, 11.0, 15.0):
        connection.heard(now)
    (record,) = recorder.to_record().connections
    assert (record.messages, record.peak_messages_per_second) == (5, 3)


def test_polite_clients_raise_no_complaint_and_others_do():
    recorder = Recorder()
    connection = recorder.opened(id=1, api_key="k")
    connection.holds(3_000)
    assert recorder.to_record().complaints() == []
    connection.duplicates += 2
    recorder.refused(status=403, api_key="")
    assert recorder.to_record().complaints() == [
        "1 upgrade(s) refused with HTTP 403",
        "2 duplicate subscription(s)",
    ]


def test_what_a_book_finds_in_a_message_is_counted_and_what_it_holds_noted():
    connection = Recorder().opened(id=1, api_key="k")
    found = Change(duplicates=1, unknown=2, not_subscribed=3, over_limit=4)
    for holds in (7, 5):
        connection.judged(found, holds=holds)
    record = connection.to_record()
    counts = (record.duplicates, record.unknown, record.not_subscribed, record.over_limit)
    assert counts == (2, 4, 6, 8)
    assert (record.subscribed, record.peak_subscribed) == (5, 7)


def test_a_reset_keeps_what_is_open_and_forgets_the_rest():
    recorder = Recorder()
    gone = recorder.opened(id=1, api_key="k")
    recorder.closed(gone)
    stays = recorder.opened(id=2, api_key="k")
    stays.holds(5)
    stays.duplicates += 1
    recorder.refused(status=503, api_key="k")
    recorder.streamed("s")
    recorder.reset()
    record = recorder.to_record()
    assert (record.opened, record.open, record.subscribed) == (0, 1, 5)
    assert (record.refused, record.frames_by_stream, record.complaints()) == ({}, {}, [])
    assert record.keys[key_label("k")].open == 1
    recorder.closed(stays)
    assert recorder.to_record().keys[key_label("k")].open == 0


def test_the_record_is_bounded_and_forgets_closed_connections_first():
    recorder = Recorder()
    stays = recorder.opened(id=0, api_key="stays")
    for id in range(1, 2_000):
        recorder.closed(recorder.opened(id=id, api_key=f"key-{id}"))
    record = recorder.to_record()
    assert len(record.connections) <= 256
    assert len(record.keys) <= 256
    assert record.connections[0].id == stays.id
    assert record.keys[key_label("stays")].open == 1
    assert record.opened == 2_000


class Target:
    def delay(self, seconds: float, *, handshakes: bool = True, frames: bool = True) -> object:
        return seconds, handshakes, frames

    def send_order(self, order: dict) -> object:
        return order

    def send_error(self, text: str) -> object:
        return text

    def close(self) -> None:
        raise AssertionError("not a verb")


def test_verbs_take_text_and_convert_it():
    target = Target()
    assert run_verb(target, "delay", {"seconds": "0.5", "frames": "false"}) == (0.5, True, False)
    assert run_verb(target, "send_order", {"order": '{"id":1}'}) == {"id": 1}
    assert run_verb(target, "send_error", {"text": "7"}) == "7"


@pytest.mark.parametrize(
    ("verb", "query"),
    [
        ("close", {}),
        ("__class__", {}),
        ("drop", {}),
        ("delay", {}),
        ("delay", {"seconds": "soon"}),
        ("delay", {"seconds": "1", "hours": "1"}),
        ("send_order", {"order": "[1]"}),
        ("send_order", {"order": "{"}),
    ],
)
def test_what_is_no_verb_or_does_not_fit_is_refused(verb: str, query: dict[str, str]):
    with pytest.raises(ControlError):
        run_verb(Target(), verb, query)


def test_every_verb_exists_on_an_exchange():
    from brokers.simulator.binance.exchange import BinanceReplay
    from brokers.simulator.runner import LOGINS, MARKET_EXCHANGES

    for verb in VERBS:
        kinds = (*MARKET_EXCHANGES.values(), *LOGINS.values(), BinanceReplay)
        assert any(hasattr(kind, verb) for kind in kinds), verb
