"""Another account of the machine at the bus: it hears nothing, says nothing, and is in no way.

A second account takes root to become, which CI has.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from brokers.types import FeedMode
from streaming.exceptions import BusFolderError, CurveRequiredError
from streaming.wire import control as cm
from streaming.wire.address import BusAddress, bus_address
from streaming.wire.keys import CurveKeys, create_key_file
from streaming.wire.message import FORMAT_VERSION, HEADER
from streaming.wire.socket_files import SocketFiles
from streaming.wire.topics import BEAT_TOPIC
from streaming.worker.publisher import SharedZmqPublisher
from tests.integration.streaming.bus_kit.ends import INFY, INFY_TOPIC, Gateway, Worker, want
from tests.integration.streaming.bus_kit.stranger import NOBODY
from tests.integration.streaming.bus_kit.support import RawSubscriber, raw_subscriber, tick
from tests.support import bus_at, eventually, eventually_sync

ROOT = Path(__file__).resolve().parents[4]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")


def process(job: dict[str, Any]) -> subprocess.Popen[str]:
    """Start another account's process on its job."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.streaming.bus_kit.stranger", json.dumps(job)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def looked_at(bus: BusAddress) -> dict[str, Any]:
    """Return what another account gets out of an address when it tries everything."""
    assert bus.files is not None
    names = sorted(each.name for each in bus.files.folder.glob(f"{bus.port}.*-*"))
    names.append(bus.ticks_name)
    assert len(names) == 2
    job = {"do": "look", "folder": str(bus.files.folder), "port": bus.port, "names": names}
    stranger = process(job)
    out, _ = await asyncio.to_thread(stranger.communicate, timeout=60)
    assert stranger.returncode == 0
    return dict(json.loads(out))


@contextmanager
def forger(port: int) -> Iterator[list[int]]:
    """Have another account stand on the port, with beats and prices that a gateway would believe.

    What is yielded holds, after the end, how many subscriptions came to it.
    """
    beat = cm.Beat(
        worker_id="forged",
        epoch=2**60,
        number=1,
        control_port=1,
        pools=[cm.PoolBeat("1", "live", 1, "")],  # type: ignore[arg-type]
        sent_ms=1,
        bus_format=FORMAT_VERSION,
    )
    price = HEADER.pack(FORMAT_VERSION, FeedMode.QUOTE, 0, 2**60, 1, 1, 0) + b'{"ltp":0.01}'
    messages = [BEAT_TOPIC + cm.encode(beat), INFY_TOPIC + price]
    stranger = process(
        {"do": "forge", "port": port, "messages": [message.hex() for message in messages]}
    )
    came: list[int] = []
    try:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "bound\n"
        yield came
        out, _ = stranger.communicate("", timeout=60)
        came.append(int(out))
    finally:
        stranger.kill()
        stranger.wait()


@needs_root
@pytest.mark.parametrize("has_port", [False, True], ids=["files", "files and a port with keys"])
async def test_another_account_gets_in_by_no_way(
    has_port: bool, stack: AsyncExitStack, tmp_path: Path
) -> None:
    """It can neither hear ticks, nor ask, nor put anything into the folder; nobody notices it."""
    bus = bus_at(curve=create_key_file(tmp_path / "bus.key") if has_port else None)
    worker = await Worker(bus.port, bus=bus).open()
    stack.push_async_callback(worker.close)
    gateway = await (await Gateway(bus.port, bus=bus).open()).met()
    stack.push_async_callback(gateway.close)
    await gateway.link.want("1", "c", [want()])
    known = worker.server.gateways

    report = await looked_at(bus)

    denied = "PermissionError"
    count = len(report["connect"])
    assert report == {
        "list": denied,
        "connect": [denied] * count,
        "bind": denied,
        "unlink": [denied] * count,
        "rename": denied,
        "lock": denied,
        "files heard": [0] * count,
        "port heard": 0,
    }
    assert worker.server.gateways == known
    assert worker.server.malformed == 0
    worker.sink().publish(INFY, tick(7), 1)
    await eventually(lambda: gateway.listener.sequences(INFY_TOPIC))


@needs_root
async def test_whoever_takes_the_port_while_the_worker_restarts_is_heard_by_nobody(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    """No price of its is shown, the worker is not kept out, and gets the port when it is free."""
    keys = create_key_file(tmp_path / "bus.key")
    bus = bus_at(curve=keys)
    gateway = await Gateway(bus.port, bus=bus).open()
    stack.push_async_callback(gateway.close)
    first = await Worker(bus.port, epoch=5, bus=bus).open()
    await gateway.met()
    await gateway.link.want("1", "c", [want()])
    await first.close()
    await gateway.give_up()

    with forger(bus.port) as came:
        second = await Worker(bus.port, epoch=6, bus=bus).open()
        stack.push_async_callback(second.close)
        await gateway.met()
        await eventually(lambda: second.service.holders("1"))
        second.sink().publish(INFY, tick(7), 1)
        await eventually(lambda: gateway.listener.ticks)
        with raw_subscriber(bus, BEAT_TOPIC, keys=keys) as subscriber:
            assert subscriber.receive(0.3) is None  # who holds the key believes no stranger
    assert came == [0]
    assert {each.epoch for each in gateway.listener.ticks} == {6}
    assert gateway.link.counters.malformed == 0
    with raw_subscriber(bus, BEAT_TOPIC, keys=keys) as subscriber:
        assert await asyncio.to_thread(subscriber.receive) is not None


@needs_root
@pytest.mark.parametrize("owner", ["another account", "root, open to all"])
async def test_a_folder_that_others_could_have_filled_is_not_used(
    owner: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither to publish in nor to listen to; both say what mends it."""
    folder = tmp_path / "bus"
    folder.mkdir(mode=0o700)
    bus = BusAddress(host="127.0.0.1", port=5555, files=SocketFiles(folder))
    gateway = Gateway(bus.port, bus=bus)
    believable = SharedZmqPublisher(bus=bus, epoch=1)
    believable.open()
    if owner == "another account":
        os.chown(folder, NOBODY, NOBODY)
        with pytest.raises(BusFolderError, match=r"another user's.*ZMQ_SOCKET_DIR"):
            SharedZmqPublisher(bus=replace(bus, port=5556), epoch=1).open()
    else:
        folder.chmod(0o777)
    await gateway.open()
    try:
        await eventually(lambda: str(folder) in caplog.text, message="nothing was said")
        assert gateway.link.workers() == 0
        assert ("chmod 700" in caplog.text) == (owner != "another account")
        folder.chmod(0o700)
        os.chown(folder, 0, 0)

        def heard() -> bool:
            believable.publish_beat(b"?")
            return gateway.link.counters.malformed > 0

        await eventually(heard, message="it was not tried again")
    finally:
        await gateway.close()
        believable.close()


def test_an_own_folder_is_closed_to_others(tmp_path: Path) -> None:
    """Made by a hand with the usual mask, it is mended without a word."""
    folder = tmp_path / "bus"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    files = SocketFiles(folder)
    files.prepare()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_path_that_is_too_long_for_a_socket_is_no_trouble(tmp_path: Path) -> None:
    """However deep the data are; and a folder that was made anew is found again."""
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20) / "bus"
    bus = BusAddress(host="127.0.0.1", port=5555, files=SocketFiles(folder))
    for life in range(2):
        publisher = SharedZmqPublisher(bus=bus, epoch=life)
        publisher.open()
        with raw_subscriber(bus, BEAT_TOPIC) as subscriber:
            assert eventually_sync(partial(beat, publisher, subscriber)) == BEAT_TOPIC + b"?"
        publisher.close()
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def beat(publisher: SharedZmqPublisher, subscriber: RawSubscriber) -> bytes | None:
    publisher.publish_beat(b"?")
    return subscriber.receive(0.02)


@pytest.mark.parametrize("has_proc", [True, False])
def test_a_folder_that_cannot_be_used_says_what_mends_it(
    has_proc: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "streaming.wire.socket_files._BY_DESCRIPTOR", "/proc" if has_proc else "/none"
    )
    (tmp_path / "file").touch()
    with pytest.raises(BusFolderError, match="ZMQ_SOCKET_DIR"):
        SocketFiles(tmp_path / "file" / "bus").prepare()
    with pytest.raises(BusFolderError, match="is no folder"):
        SocketFiles(tmp_path / "file").check()
    with pytest.raises(FileNotFoundError):
        SocketFiles(tmp_path / "nothing").check()
    if not has_proc:
        with pytest.raises(BusFolderError, match="too long"):
            SocketFiles(tmp_path / ("long" * 40)).path("1.ticks")


@pytest.mark.parametrize("owner", ["me", "root", "another"])
def test_a_folder_behind_another_users_link_is_refused(
    owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the link chooses where the bus is; the folder that it leads to may be ours."""
    (tmp_path / "bus").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "bus")
    uid = {"me": os.geteuid(), "root": 0, "another": os.geteuid() + 4711}[owner]
    look = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        found = look(path)
        return os.stat_result([*found[:4], uid, *found[5:]]) if path == link else found

    monkeypatch.setattr(Path, "lstat", lstat)
    if owner == "another":
        with pytest.raises(BusFolderError, match="is another user's: set ZMQ_SOCKET_DIR"):
            SocketFiles(link).check()
    else:
        SocketFiles(link).check()


async def test_what_a_killed_worker_left_is_swept_away(stack: AsyncExitStack) -> None:
    """Its files are in nobody's way, and another port's are left alone."""
    bus, other = bus_at(), bus_at()
    assert bus.files is not None
    left = bus.files.folder
    neighbour = await Worker(other.port, bus=other).open()
    stack.push_async_callback(neighbour.close)
    for name in (bus.ticks_name, f"{bus.control_prefix}77"):
        with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
            socket.bind(f"ipc://{left / name}")
            os.link(left / name, left / f"{name}.kept")
        os.rename(left / f"{name}.kept", left / name)
    worker = await Worker(bus.port, bus=bus).open()
    stack.push_async_callback(worker.close)
    assert not (left / f"{bus.control_prefix}77").exists()
    for each in (bus, other):
        gateway = await (await Gateway(each.port, bus=each).open()).met()
        stack.push_async_callback(gateway.close)
        assert (await gateway.link.want("1", "c", [want()])).outcomes


async def test_the_folder_may_be_deleted_under_a_gateway(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    """The next worker makes it anew, and is found there."""
    bus = BusAddress(host="127.0.0.1", port=5555, files=SocketFiles(tmp_path / "bus"))
    gateway = await Gateway(bus.port, bus=bus).open()
    stack.push_async_callback(gateway.close)
    for epoch in (1, 2):
        worker = await Worker(bus.port, epoch=epoch, bus=bus).open()
        await gateway.met()
        assert (await gateway.link.want("1", "c", [want()])).outcomes
        await worker.close()
        await gateway.give_up()
        assert [each.name for each in (tmp_path / "bus").iterdir()] == [bus.lock_name]
        for path in (tmp_path / "bus").iterdir():
            path.unlink()
        (tmp_path / "bus").rmdir()


@pytest.mark.parametrize("number", [0, 65_534, 65_535, 2**64 - 1])
def test_another_life_has_another_control_file(number: int) -> None:
    """Within what a beat can say; on a port the system chooses."""
    bus = bus_at()
    assert 1 <= bus.control_number(number) <= 65_535
    assert bus.control_number(number) != bus.control_number(number + 1)
    keys = CurveKeys(b"", b"")
    assert replace(bus, files=None, curve=keys).control_number(number) == 0


def settings_of(**values: object) -> Any:
    return SimpleNamespace(
        **{"zmq_host": "127.0.0.1", "zmq_port": 5555, "zmq_curve_key_file": ""} | values
    )


def test_what_the_settings_say(tmp_path: Path) -> None:
    """Files on loopback, with a port beside them where there are keys; else the port with keys."""
    key_file = tmp_path / "bus.key"
    keys = create_key_file(key_file)
    files = SocketFiles(tmp_path)
    by_files = BusAddress(host="127.0.0.1", port=5555, files=files)
    assert bus_address(settings_of(), tmp_path) == by_files
    with_keys = settings_of(zmq_curve_key_file=str(key_file))
    assert bus_address(with_keys, tmp_path) == replace(by_files, curve=keys)
    assert bus_address(with_keys, None) == replace(by_files, files=None, curve=keys)
    elsewhere = settings_of(zmq_host="10.1.2.3", zmq_curve_key_file=str(key_file))
    assert bus_address(elsewhere, tmp_path).files is None
    for unprotected, folder in ((settings_of(), None), (settings_of(zmq_host="::"), tmp_path)):
        with pytest.raises(CurveRequiredError, match="ZMQ_CURVE_KEY_FILE"):
            bus_address(unprotected, folder)
