"""Which version of the bus each end speaks, and that a change of it raises the number."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest

from streaming.wire import control as cm
from streaming.wire.versions import PROTOCOL_VERSION, UNTOLD, version_trouble

# By version: the shape of everything that is said. A change of it is a new version: raise
# PROTOCOL_VERSION and put its line here.
SHAPES = {1: "76d4f81c8e32f2b8"}


def without_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_words(each) for key, each in value.items() if key != "description"}
    return [without_words(each) for each in value] if isinstance(value, list) else value


def test_what_is_said_has_the_shape_of_its_version():
    schemas = msgspec.json.schema_components([cm.Request, cm._FromWorker, cm.Beat])
    shape = json.dumps(without_words(list(schemas)), sort_keys=True)
    assert SHAPES[PROTOCOL_VERSION] == hashlib.sha256(shape.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("worker", "gateway", "words"),
    [
        (3, 4, "the worker speaks version 3 of the bus, the gateway version 4: restart the worker"),
        (4, 3, "the worker speaks version 4 of the bus, the gateway version 3: restart the gate"),
        (
            UNTOLD,
            1,
            "the worker speaks an older version of the bus, the gateway version 1: re",
        ),
        (1, UNTOLD, "the gateway an older version: restart the gateway"),
    ],
)
def test_ends_of_two_versions_are_told_which_to_restart(worker: int, gateway: int, words: str):
    assert words in version_trouble(worker=worker, gateway=gateway)


def test_ends_of_one_version_are_told_nothing():
    assert version_trouble(worker=PROTOCOL_VERSION, gateway=PROTOCOL_VERSION) == ""


def test_an_end_that_does_not_say_its_version_is_an_older_one():
    assert cm.decode_from_gateway(msgspec.msgpack.encode({"type": "hello"})) == cm.Hello(UNTOLD)
    old = {"type": "beat", "worker_id": "w", "epoch": 1, "number": 1, "control_port": 1}
    assert cm.decode_beat(msgspec.msgpack.encode(old | {"pools": [], "sent_ms": 1})).version == 0
