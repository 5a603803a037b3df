"""A subscriber of one's own, as the documentation has it: by the socket file, and with keys."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from streaming.wire.keys import create_key_file
from streaming.worker.publisher import SharedZmqPublisher
from tests.integration.streaming.bus_kit.support import instrument, tick
from tests.support import bus_at

DOCS = Path(__file__).resolve().parents[4] / "docs" / "operations.md"
CONNECT = re.compile(r"^subscriber\.connect\(.*\n", re.MULTILINE)


def documented() -> tuple[str, str]:
    """Return the code for the socket file, and the same for the port."""
    section = DOCS.read_text().partition("\n### Subscribers of your own\n")[2].partition("\n## ")[0]
    by_file, by_port = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(CONNECT.findall(by_file)) == 1
    return by_file, CONNECT.sub(lambda _: by_port, by_file)


@pytest.mark.parametrize("way", [0, 1], ids=["socket file", "port"])
def test_what_is_documented_hears_ticks(
    way: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each as it stands, but for its paths and its end."""
    key_file = tmp_path / "bus.key"
    bus = bus_at(curve=create_key_file(key_file))
    publisher = SharedZmqPublisher(bus=bus, epoch=1)
    publisher.open()
    code = documented()[way]
    for theirs, ours in (
        ("ipc://var/bus/5555.ticks", bus.ticks),
        ("var/bus.key", str(key_file)),
        ("tcp://127.0.0.1:5555", bus.tcp),
        ("while True:", "for _ in range(1):"),
    ):
        code = code.replace(theirs, ours)
    is_heard = threading.Event()
    sink = publisher.for_pool("1", "zerodha")

    def publish() -> None:
        while not is_heard.wait(0.02):
            sink.publish(instrument("INFY"), tick(1573), 1)

    publishing = threading.Thread(target=publish)
    publishing.start()
    names: dict[str, object] = {}
    try:
        exec(code, names)
    finally:
        is_heard.set()
        publishing.join()
        publisher.close()
        subscriber = names["subscriber"]
        subscriber.close(0)  # type: ignore[attr-defined]
        subscriber.context.term()  # type: ignore[attr-defined]
    assert re.match(r'1/NSE/INFY \{.*"ltp":', capsys.readouterr().out)
