"""What a silence of one line says, next to others of the same feed that tick."""

from __future__ import annotations

import pytest

from brokers.types import FeedMode
from streaming.fanout.index import Group, Groups
from streaming.fanout.line_watch import LineWatch
from streaming.fanout.quiet_lines import silence_of
from streaming.protocol.entries import Silence
from streaming.protocol.held import Line

TOPIC = b"t"


class Lines:
    """One topic, looked at every five seconds of a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.groups: Groups[str] = Groups()
        self.groups.join(TOPIC, Line(FeedMode.QUOTE), "a")
        self.looks = LineWatch(groups=self.groups, clock=lambda: self.now)

    @property
    def group(self) -> Group[str]:
        return self.groups.by_topic[TOPIC]

    @property
    def silence(self) -> Silence | None:
        return silence_of(self.group, self.now)

    def pass_seconds(self, seconds: int, *, tick_every: int = 0) -> None:
        for _ in range(seconds):
            self.now += 1
            if tick_every and self.now % tick_every == 0:
                self.group.last_tick_seconds = self.now
            if self.now % 5 == 0:
                self.looks.look()


def test_a_line_that_had_plenty_is_silent_after_25_s_until_its_next_tick():
    lines = Lines()
    lines.pass_seconds(45, tick_every=1)
    lines.pass_seconds(24)
    assert lines.silence is None
    lines.pass_seconds(1)
    assert lines.silence == (45.0, "no tick for 25 s, though it ticked often before", True)
    lines.pass_seconds(3600)
    assert lines.silence is not None
    assert lines.silence.since == 45.0
    lines.pass_seconds(1, tick_every=1)
    assert lines.silence is None


@pytest.mark.parametrize("tick_every", [7, 24, 50])
def test_a_line_that_ticks_now_and_then_is_quiet_after_a_minute(tick_every):
    lines = Lines()
    lines.pass_seconds(600 - 600 % tick_every, tick_every=tick_every)
    last = lines.now
    lines.pass_seconds(59)
    assert lines.silence is None
    lines.pass_seconds(1)
    assert lines.silence == (last, "no tick for 60 s", True)


def test_what_was_acknowledged_and_has_no_data_says_so_after_25_s():
    lines = Lines()
    lines.group.since_seconds = 0.0
    lines.pass_seconds(24)
    assert lines.silence is None
    lines.pass_seconds(1)
    assert lines.silence == (0.0, "subscribed, no price yet", False)
    lines.pass_seconds(1, tick_every=1)
    assert lines.silence is None


def test_a_burst_is_not_plenty():
    lines = Lines()
    lines.pass_seconds(20, tick_every=1)
    lines.pass_seconds(59)
    assert lines.silence is None
