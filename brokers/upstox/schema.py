"""The messages of Upstox's feed, as far as they are read. Pure.

Built here and in a pool of its own instead of generated, so that no generated file has to be kept
in step with a runtime, and nothing collides with Upstox's client in one process: neither names of
packages nor of messages are on the wire. A field that is not declared is skipped. Enumerations are
declared as numbers and maps as what they are on the wire, a repeated message of key and value.

Parsed by protobuf's own C parser. Measured on frames of five levels, a parser of our own around one
regular expression, the fastest that Python offers, took an eighth longer with all its caches warm,
and would have had to prove the lengths and fallbacks that the C parser has been fuzzed for.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

__all__ = ["DecodeError", "FeedResponse"]

_PACKAGE: Final = "tickpool.upstox.v3"
_FILE: Final = "tickpool/upstox_v3.proto"

_SCALARS: Final = {
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "enum": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
}

# message: (field, number, type); a type in brackets is repeated, one after "|" is of the oneof.
_MESSAGES: Final[dict[str, tuple[tuple[str, int, str], ...]]] = {
    "Ltpc": (
        ("ltp", 1, "double"),
        ("ltt", 2, "int64"),
        ("ltq", 3, "int64"),
        ("cp", 4, "double"),
    ),
    "Level": (
        ("bid_quantity", 1, "int64"),
        ("bid_price", 2, "double"),
        ("ask_quantity", 3, "int64"),
        ("ask_price", 4, "double"),
    ),
    "Levels": (("levels", 1, "[Level]"),),
    "Candle": (
        ("interval", 1, "string"),
        ("open", 2, "double"),
        ("high", 3, "double"),
        ("low", 4, "double"),
    ),
    "Candles": (("candles", 1, "[Candle]"),),
    "Market": (
        ("ltpc", 1, "Ltpc"),
        ("book", 2, "Levels"),
        ("ohlc", 4, "Candles"),
        ("atp", 5, "double"),
        ("vtt", 6, "int64"),
        ("oi", 7, "double"),
        ("tbq", 9, "double"),
        ("tsq", 10, "double"),
    ),
    "Index": (("ltpc", 1, "Ltpc"), ("ohlc", 2, "Candles")),
    "Full": (("market", 1, "|Market"), ("index", 2, "|Index")),
    "FirstLevel": (
        ("ltpc", 1, "Ltpc"),
        ("level", 2, "Level"),
        ("vtt", 4, "int64"),
        ("oi", 5, "double"),
    ),
    "Feed": (
        ("ltpc", 1, "|Ltpc"),
        ("full", 2, "|Full"),
        ("first_level", 3, "|FirstLevel"),
        ("asked_as", 4, "enum"),
    ),
    "Entry": (("key", 1, "string"), ("feed", 2, "Feed")),
    "Status": (("segment", 1, "string"), ("status", 2, "enum")),
    "MarketInfo": (("statuses", 1, "[Status]"),),
    "FeedResponse": (
        ("type", 1, "enum"),
        ("feeds", 2, "[Entry]"),
        ("current_ts", 3, "int64"),
        ("market_info", 4, "MarketInfo"),
    ),
}


def _declare() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if any(kind.startswith("|") for _, _, kind in fields):
            message.oneof_decl.add(name="union")
        for field_name, number, kind in fields:
            _declare_field(message.field.add(name=field_name, number=number), kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.FeedResponse"))


def _declare_field(field: Any, kind: str) -> None:
    is_repeated = kind.startswith("[")
    field.label = field.LABEL_REPEATED if is_repeated else field.LABEL_OPTIONAL
    if kind.startswith("|"):
        field.oneof_index = 0
    bare = kind.strip("[]|")
    if bare in _SCALARS:
        field.type = _SCALARS[bare]
    else:
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{bare}"


# One frame of the feed; its class is made at run time, so that nothing more can be said of it.
FeedResponse: Final[Any] = _declare()
