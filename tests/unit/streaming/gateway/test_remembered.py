"""Keys let in of late, while the directory is away."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from brokers.types import InstrumentKey
from streaming.exceptions import DirectoryUnavailableError, KeyEndedError
from streaming.gateway import remembered
from streaming.gateway.remembered import REMEMBERED_SECONDS, RememberingDirectory
from streaming.ports.directory import Directory, Principal
from streaming.testing.edge import FakeDirectory, make_principal
from tests.support import eventually


class Kit:
    """A directory, what remembers it, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_ms = 1_700_000_000_000
        self.inner = FakeDirectory()
        self.ann = self.inner.add_key("key of ann", make_principal(1))
        self.bob = self.inner.add_key("key of bob", make_principal(2))
        self.directory = RememberingDirectory(
            self.inner, clock=lambda: self.now, wall_clock_ms=lambda: self.wall_ms
        )

    async def who(self, api_key: str) -> Principal | None:
        return await self.directory.authenticate_api_key(api_key)


@pytest.fixture
def kit() -> Kit:
    return Kit()


async def test_a_key_let_in_of_late_is_let_in_while_the_directory_is_away(kit: Kit) -> None:
    assert await kit.who("key of ann") == kit.ann
    kit.inner.fail()
    kit.now += REMEMBERED_SECONDS - 1
    assert await kit.who("key of ann") == kit.ann
    kit.now += 1
    with pytest.raises(DirectoryUnavailableError):
        await kit.who("key of ann")


async def test_keys_that_were_not_let_in_are_neither_let_in_nor_refused(kit: Kit) -> None:
    assert await kit.who("wrong") is None
    kit.inner.fail()
    for key in ("wrong", "key of bob", "", "\udcff"):
        with pytest.raises(DirectoryUnavailableError):
            await kit.who(key)


async def test_the_directory_is_asked_first_and_its_refusal_is_final(kit: Kit) -> None:
    await kit.who("key of ann")
    kit.inner.revoke("key of ann")
    assert await kit.who("key of ann") is None
    kit.inner.fail()
    with pytest.raises(DirectoryUnavailableError):
        await kit.who("key of ann")


async def test_a_directory_that_hangs_holds_up_no_known_key(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "PATIENCE_SECONDS", 0.01)
    await kit.who("key of ann")
    kit.inner.hold()
    assert await kit.who("key of ann") == kit.ann
    unknown = asyncio.create_task(kit.who("key of bob"))
    await asyncio.sleep(0.05)
    assert not unknown.done(), "how long an unknown key waits is the directory's business"
    kit.inner.resume()
    assert await unknown == kit.bob


async def test_a_look_at_the_connected_confirms_them_and_forgets_whose_key_ended(
    kit: Kit,
) -> None:
    await kit.who("key of ann")
    await kit.who("key of bob")
    kit.now += REMEMBERED_SECONDS - 1
    kit.inner.revoke("key of bob")  # bob is not connected
    assert await kit.directory.refresh([kit.ann]) == [kit.ann]
    kit.inner.fail()
    kit.now += REMEMBERED_SECONDS - 1
    assert await kit.who("key of ann") == kit.ann
    with pytest.raises(DirectoryUnavailableError):
        await kit.who("key of bob")


async def test_who_has_left_is_looked_at_for_a_minute_and_no_longer(kit: Kit) -> None:
    await kit.who("key of ann")
    assert await kit.directory.refresh([]) == []
    kit.now += REMEMBERED_SECONDS
    await kit.directory.refresh([])
    assert kit.inner.refreshes == 1
    assert repr(kit.directory) == "<RememberingDirectory keys=0>"


async def test_a_notice_puts_its_user_in_doubt_until_the_directory_was_asked(kit: Kit) -> None:
    await kit.who("key of ann")
    kit.now += 1
    kit.inner.fail()
    kit.directory.doubt([99])
    assert await kit.who("key of ann") == kit.ann
    kit.directory.doubt([1])
    with pytest.raises(DirectoryUnavailableError):
        await kit.who("key of ann")
    kit.inner.recover()
    kit.now += 1
    await kit.directory.refresh([])
    kit.inner.fail()
    assert await kit.who("key of ann") == kit.ann


async def test_what_was_asked_before_a_notice_takes_no_doubt_away(kit: Kit) -> None:
    await kit.who("key of ann")

    class Slow(FakeDirectory):
        async def refresh(self, principals):
            kit.now += 1
            kit.directory.doubt([1])
            return list(principals)

    kit.directory._directory = Slow()
    await kit.directory.refresh([kit.ann])
    slow = kit.directory._directory
    assert isinstance(slow, Slow)
    slow.fail()
    with pytest.raises(DirectoryUnavailableError):
        await kit.who("key of ann")


async def test_a_key_that_was_looked_up_before_a_notice_is_in_doubt(kit: Kit) -> None:
    kit.inner.hold()
    asked = asyncio.create_task(kit.who("key of ann"))
    await eventually(lambda: kit.inner.lookups == 1)
    kit.now += 1
    kit.directory.doubt([1])
    kit.inner.resume()
    assert await asked == kit.ann
    kit.inner.fail()
    with pytest.raises(DirectoryUnavailableError):
        await kit.who("key of ann")


async def test_what_is_remembered_is_bounded_and_holds_no_key(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MOST_REMEMBERED", 3)
    monkeypatch.setattr(remembered, "MOST_REFRESHED", 2)
    for number in range(3, 8):
        kit.inner.add_key(f"key {number}", make_principal(number))
        await kit.who(f"key {number}")
    assert repr(kit.directory) == "<RememberingDirectory keys=3>"
    assert "key 7" not in repr(vars(kit.directory))
    await kit.directory.refresh([])
    assert repr(kit.directory) == "<RememberingDirectory keys=2>", "nobody would look at the third"
    kit.inner.fail()
    assert await kit.who("key 7") is not None
    with pytest.raises(DirectoryUnavailableError):
        await kit.who("key 3")


async def test_every_question_of_a_gateway_reaches_the_directory(kit: Kit) -> None:
    """What is not remembered is asked, each time: a question left out would fail at use only."""
    index = InstrumentKey("NSE", "SIXTY65:35")
    kit.inner.exact.add(index)
    kit.inner.suggestions["INFI"] = ["INFY"]
    kit.inner.not_listed["zerodha"] = "nothing is loaded"
    assert await kit.directory.listed("zerodha", [index]) == {index}
    assert await kit.directory.suggest("zerodha", "NSE", "INFI") == ["INFY"]
    assert await kit.directory.why_not_listed("zerodha") == "nothing is loaded"
    asked = {name for name in vars(Directory) if not name.startswith("_")}
    assert asked <= set(dir(kit.directory))


async def test_an_ended_key_is_remembered_no_longer(kit: Kit) -> None:
    await kit.who("key of ann")
    kit.inner.end_key("key of ann")
    with pytest.raises(KeyEndedError):
        await kit.who("key of ann")
    kit.inner.fail()
    with pytest.raises(DirectoryUnavailableError):
        await kit.who("key of ann")


async def test_a_remembered_key_ends_while_the_directory_is_away(kit: Kit) -> None:
    cat = kit.inner.add_key(
        "key of cat", msgspec.structs.replace(make_principal(3), ends_ms=kit.wall_ms + 1)
    )
    assert await kit.who("key of cat") == cat
    kit.inner.fail()
    assert await kit.who("key of cat") == cat
    kit.wall_ms += 1
    with pytest.raises(DirectoryUnavailableError):
        await kit.who("key of cat")
