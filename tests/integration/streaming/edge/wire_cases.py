"""What a client may put on the wire, rightly and wrongly, and what has to come back. Data.

The cases of the Autobahn suite that apply to a server that does not echo (its categories 1 to 7, 9
and 10; numbers as there), and some of our own. RFC 6455 is the reason of each expectation.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["CASES", "Case", "frame"]

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"\x37\xfa\x21\x3d"

# Coded errors are the answers to texts that are no requests.
NO_JSON = "INVALID_JSON"


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = KEY,
    length: int | None = None,
) -> bytes:
    """Return a client's frame, as wrong as the arguments make it."""
    size = len(payload) if length is None else length
    masked = 0x80 if key is not None else 0
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126:
        head += bytes([masked | size])
    elif size < 65536:
        head += bytes([masked | 126]) + struct.pack("!H", size)
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", size)
    if key is None:
        return head + payload
    pad = (key * (len(payload) // 4 + 1))[: len(payload)]
    mask = int.from_bytes(pad, "big")
    hidden = (int.from_bytes(payload, "big") ^ mask).to_bytes(len(payload), "big")
    return head + key + hidden


@dataclass(frozen=True)
class Case:
    """``sent`` in this order; ``pongs`` and ``texts`` come back, each in their order.

    A text is a coded error, or ``pong`` for the answer to a request. With ``closes`` the server
    closes with one of these codes; what it answers before is left open then.
    """

    name: str
    sent: tuple[bytes, ...]
    pongs: tuple[bytes, ...] = ()
    texts: tuple[str, ...] = ()
    closes: tuple[int, ...] = ()
    chop: int | None = field(default=None)

    @property
    def category(self) -> str:
        return self.name.partition(" ")[0].partition(".")[0]


def request(size: int = 0) -> bytes:
    """Return a request of at least ``size`` bytes that is answered with ``pong``."""
    bare = len(b'{"action":"ping","x":""}')
    return b'{"action":"ping","x":"%b"}' % (b"y" * max(0, size - bare))


def fragments(payload: bytes, size: int, opcode: int = TEXT) -> Iterator[bytes]:
    """Cut a message into frames of ``size`` bytes."""
    starts = range(0, len(payload), size)
    for start in starts:
        yield frame(
            opcode if start == 0 else CONT,
            payload[start : start + size],
            fin=start + size >= len(payload),
        )


def _framing() -> Iterator[Case]:
    yield Case("1.1.1 empty text", (frame(TEXT),), texts=(NO_JSON,))
    yield Case("1.2.1 empty binary", (frame(BINARY),), texts=(NO_JSON,))
    for size in (125, 126, 127, 128, 65535, 65536):
        yield Case(f"1.1 text of {size}", (frame(TEXT, request(size)),), texts=("pong",))
        yield Case(f"1.2 binary of {size}", (frame(BINARY, b"\xfe" * size),), texts=(NO_JSON,))
    big = frame(TEXT, request(65536))
    yield Case("1.1.8 text of 65536 chopped", (big,), texts=("pong",), chop=997)
    yield Case("1.3 a mask of zeros", (frame(TEXT, request(), key=bytes(4)),), texts=("pong",))


def _pings() -> Iterator[Case]:
    yield Case("2.1 empty ping", (frame(PING),), pongs=(b"",))
    yield Case("2.2 ping with text", (frame(PING, b"Hello"),), pongs=(b"Hello",))
    binary = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
    yield Case("2.3 ping with binary", (frame(PING, binary),), pongs=(binary,))
    yield Case("2.4 ping of 125", (frame(PING, b"\xfe" * 125),), pongs=(b"\xfe" * 125,))
    yield Case("2.5 ping of 126", (frame(PING, b"\xfe" * 126),), closes=(1002,))
    yield Case("2.7 unasked pong", (frame(PONG),))
    yield Case("2.8 unasked pong with payload", (frame(PONG, b"unasked"),))
    mixed = (frame(PONG, b"unasked"), frame(PING, b"asked"))
    yield Case("2.9 unasked pong, ping", mixed, pongs=(b"asked",))
    payloads = tuple(b"payload-%d" % number for number in range(10))
    yield Case("2.10 ten pings", tuple(frame(PING, each) for each in payloads), pongs=payloads)
    every = tuple(bytes(range(size)) for size in range(126))
    yield Case("2.12 every size", tuple(frame(PING, each) for each in every), pongs=every)
    yield Case("2.13 pong of 126", (frame(PONG, b"\xfe" * 126),), closes=(1002,))


def _reserved_bits() -> Iterator[Case]:
    for rsv in range(1, 8):
        yield Case(f"3.1 rsv {rsv}", (frame(TEXT, b"Hello", rsv=rsv),), closes=(1002,))
    behind = (frame(TEXT, request()), frame(TEXT, b"Hello", rsv=4), frame(PING))
    yield Case("3.4 rsv behind a request", behind, closes=(1002,))
    yield Case("3.5 rsv of a binary", (frame(BINARY, b"\xff" * 8, rsv=5),), closes=(1002,))
    yield Case("3.6 rsv of a ping", (frame(PING, b"Hello", rsv=6),), closes=(1002,))
    yield Case("3.7 rsv of a close", (frame(CLOSE, b"\x03\xe8", rsv=7),), closes=(1002,))


def _opcodes() -> Iterator[Case]:
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Case(f"4 opcode {opcode}", (frame(opcode),), closes=(1002,))
        behind = (frame(TEXT, request()), frame(opcode, b"reserved"), frame(PING))
        yield Case(f"4 opcode {opcode} behind a request", behind, closes=(1002,))


def _fragmentation() -> Iterator[Case]:
    first, rest = request()[:9], request()[9:]
    begin, go_on = frame(TEXT, first, fin=False), frame(CONT, rest)
    for opcode, word in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        parts = (frame(opcode, b"\x03\xe8"[:2], fin=False), frame(CONT, b"x"))
        yield Case(f"5.1 fragmented {word}", parts, closes=(1002,))
    yield Case("5.3 text in two", (begin, go_on), texts=("pong",))
    between = (begin, frame(PING, b"between"), go_on)
    yield Case("5.6 ping between", between, pongs=(b"between",), texts=("pong",))
    empties = (frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT, request()))
    yield Case("6.1 empty fragments", empties, texts=("pong",))
    yield Case("5.9 nothing to continue", (frame(CONT, b"x"),), closes=(1002,))
    yield Case("5.12 nothing to continue yet", (frame(CONT, b"x", fin=False),), closes=(1002,))
    too_late = (begin, go_on, frame(CONT, b"x", fin=False), frame(TEXT, request()))
    yield Case("5.15 continued after its end", too_late, closes=(1002,))
    yield Case("5.18 text within a text", (begin, frame(TEXT, rest)), closes=(1002,))
    yield Case("5.18 binary within a text", (begin, frame(BINARY, rest)), closes=(1002,))
    many: list[bytes] = []
    for number, each in enumerate(fragments(request(200), 40)):
        many += (each, frame(PING, b"%d" % number))
    pongs = tuple(b"%d" % number for number in range(len(many) // 2))
    yield Case("5.19 pings between all", tuple(many), pongs=pongs, texts=("pong",))
    single = tuple(fragments(request(), 1))
    yield Case("5.20 one byte each", single, texts=("pong",))


VALID_UTF8 = (
    "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!", "\u03ba\u1f79\u03c3\u03bc\u03b5",
    "\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\uffff",
    "\U00010000", "\U0001fffe", "\U0010fffe", "\U0010ffff",
)  # fmt: skip
INVALID_UTF8 = (
    "cebae1bdb9cf83cebcceb5eda080656469746564", "cebae1bdb9cf83cebcceb5f4908080656469746564",
    "80", "bf", "80bf80bf80bf", "c020c120c220", "e020e120e220", "f020f120f220", "f820", "fc20",
    "c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf",
    "fe", "ff", "fefeffff", "c0af", "e080af", "f08080af", "f8808080af", "fc80808080af",
    "c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf", "c080", "e08080", "f0808080",
    "eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf", "eda080edb080",
    "edafbfedbfbf", "f4908080", "f888808080", "fc8480808080", "cebae1bdb9cf83cebcceb5ed80",
)  # fmt: skip


def _utf8() -> Iterator[Case]:
    for text in VALID_UTF8:
        payload = b"a" + text.encode()
        name = f"6 valid {text!a}"
        yield Case(name, (frame(TEXT, payload),), texts=(NO_JSON,))
        yield Case(f"{name}, cut", tuple(fragments(payload, 1)), texts=(NO_JSON,))
    for digits in INVALID_UTF8:
        payload = bytes.fromhex(digits)
        yield Case(f"6 invalid {digits}", (frame(TEXT, payload),), closes=(1007,))
        if len(payload) > 1:
            yield Case(f"6 invalid {digits}, cut", tuple(fragments(payload, 1)), closes=(1007,))
    two = (frame(TEXT, b"\xff"), frame(TEXT, b"\xff"))
    yield Case("6 two invalid ones", two, closes=(1007,))
    yield Case("6 invalid, then a close", (two[0], frame(CLOSE, b"\x03\xe8")), closes=(1000, 1007))


def _close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def _closes() -> Iterator[Case]:
    yield Case("7.3.1 without a code", (frame(CLOSE),), closes=(1005,))
    yield Case("7.3.2 half a code", (frame(CLOSE, b"\x03"),), closes=(1002,))
    yield Case("7.3.4 with a reason", (_close(1000, b"Hello World!"),), closes=(1000,))
    yield Case("7.3.5 longest reason", (_close(1000, b"*" * 123),), closes=(1000,))
    yield Case("7.3.6 reason too long", (_close(1000, b"*" * 124),), closes=(1002,))
    bad = bytes.fromhex("cebae1bdb9cf83cebcceb5eda080656469746564")
    yield Case("7.5.1 reason in bad UTF-8", (_close(1000, bad),), closes=(1002, 1007))
    twice = (_close(1000), _close(1000))
    yield Case("7.1.2 two closes", twice, closes=(1000,))
    yield Case("7.1.3 ping behind", (_close(1000), frame(PING, b"late")), closes=(1000,))
    yield Case("7.1.4 text behind", (_close(1000), frame(TEXT, request())), closes=(1000,))
    within = (frame(TEXT, request()[:5], fin=False), _close(1000), frame(CONT, request()[5:]))
    # An answer, and as good a one: the message can never be finished.
    yield Case("7.1.5 within a message", within, closes=(1000, 1002))
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield Case(f"7.7 code {code}", (_close(code),), closes=(code,))
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999):
        yield Case(f"7.9 code {code}", (_close(code),), closes=(1002,))
    for code in (5000, 65535):
        yield Case(f"7.13 code {code}", (_close(code),), closes=(1002, code))


def _sizes() -> Iterator[Case]:
    mebibyte = 1024 * 1024
    too_big = (frame(TEXT, b"{", length=mebibyte + 1),)
    yield Case("9.1 over a mebibyte, by its header", too_big, closes=(1009,))
    huge = (frame(BINARY, b"x", length=2**63 - 1),)
    yield Case("9.2 as long as can be", huge, closes=(1009,))
    yield Case(
        "9.3 longer than can be", (frame(TEXT, b"x", length=2**64 - 1),), closes=(1002, 1009)
    )
    parts = tuple(fragments(request(mebibyte + 1), 256 * 1024))
    yield Case("9.4 over a mebibyte, in parts", parts, closes=(1009,))
    yield Case("9.5 a mebibyte", (frame(TEXT, request(mebibyte)),), texts=("pong",), chop=65536)
    yield Case("10.1 in parts of 1300", tuple(fragments(request(65536), 1300)), texts=("pong",))


def _masks() -> Iterator[Case]:
    for opcode, word in ((TEXT, "text"), (PING, "ping"), (CLOSE, "close")):
        bare = (frame(opcode, b"\x03\xe8", key=None),)
        yield Case(f"11 {word} without a mask", bare, closes=(1002,))
    unmasked = (frame(TEXT, request()[:9], fin=False), frame(CONT, request()[9:], key=None))
    yield Case("11 a fragment without a mask", unmasked, closes=(1002,))


def _together() -> Iterator[Case]:
    sent: list[bytes] = []
    for number in range(300):
        sent += (frame(PING, b"%d" % number), frame(PONG, b"unasked"))
        if number % 3 == 0:
            first, second = request()[:9], request()[9:]
            sent += (frame(TEXT, first, fin=False), frame(PING), frame(CONT, second))
    pongs: list[bytes] = []
    for number in range(300):
        pongs += [b"%d" % number, b""] if number % 3 == 0 else [b"%d" % number]
    yield Case("12 hundreds at once", tuple(sent), pongs=tuple(pongs), texts=("pong",) * 100)


def _all(*groups: Iterable[Case]) -> tuple[Case, ...]:
    cases = tuple(case for group in groups for case in group)
    names = sorted(case.name for case in cases)
    assert all(first != second for first, second in pairwise(names)), "names of cases are unique"
    return cases


CASES = _all(
    _framing(), _pings(), _reserved_bits(), _opcodes(), _fragmentation(), _utf8(), _closes(),
    _sizes(), _masks(), _together(),
)  # fmt: skip
assert json.loads(request(100))["action"] == "ping"
