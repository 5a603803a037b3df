"""Badges, bars and the sentences before an operation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pooling.admin.forms.credentials import credential_field, credential_state
from pooling.admin.lists.cells import Tone, age, badge, bar, long_age
from pooling.admin.operations import OPERATIONS, PoolFacts
from pooling.models import BrokerAccount

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("used", "capacity", "tone", "width"),
    [
        (0, 1000, "good", "0.0"),
        (899, 1000, "good", "89.9"),
        (900, 1000, "warn", "90.0"),
        (1000, 1000, "bad", "100.0"),
        (1200, 1000, "bad", "100.0"),
        (0, 0, "good", "0.0"),
        (1, 0, "bad", "100.0"),
    ],
)
def test_a_bar_is_as_wide_as_its_share(used, capacity, tone, width):
    drawn = bar(used, capacity, "symbols")
    assert f'tp-{tone}" width="{width}"' in drawn
    assert f'aria-label="{used:,} of {capacity:,} symbols"' in drawn
    assert "style=" not in drawn


def test_what_comes_from_outside_is_escaped():
    drawn = badge(Tone.BAD, "<b>", '"><script>')
    assert "<b>" not in drawn
    assert "<script>" not in drawn


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_an_age_is_told_in_its_largest_unit(seconds, words):
    assert long_age(seconds) == words


def test_a_time_that_is_ahead_of_the_clock_is_now():
    assert ">now</time>" in age(NOW + timedelta(seconds=3), NOW)
    assert age(None, NOW) == "-"


FACTS = PoolFacts(
    is_alive=True, is_enabled=True, is_paused=False, symbols=1, clients=1, slots={1: 1}
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("start", "It is switched on already; nothing changes."),
        ("resume", "It is not paused; nothing changes."),
        ("pause", "1 connection closes and 1 symbol of 1 client stand still until"),
        ("reconnect", "1 connection closes and opens again. 1 symbol of up to 1 client has a gap"),
    ],
)
def test_an_effect_is_told_in_right_numbers(name, words):
    assert words in OPERATIONS[name].effect(FACTS)


def test_nothing_subscribed_is_told_as_that():
    empty = PoolFacts(is_alive=True, is_enabled=True, is_paused=False)
    assert "Nothing is subscribed on it." in OPERATIONS["reconnect"].effect(empty)
    paused = PoolFacts(is_alive=True, is_enabled=True, is_paused=True)
    assert "paused already" in OPERATIONS["pause"].effect(paused)


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (NOW + timedelta(hours=5), "expires 22:30 IST"),
        (NOW + timedelta(days=1), "expires Mar 3, 17:30 IST"),
        (NOW + timedelta(days=365), "expires Mar 2 2027, 17:30 IST"),
        (NOW - timedelta(days=365), "expired Mar 2 2025, 17:30 IST"),
    ],
)
def test_an_end_in_another_year_names_the_year(ends, told, settings):
    """A token of a year would else seem to end tomorrow, or to have ended yesterday."""
    settings.TIME_ZONE = "Asia/Kolkata"
    account = BrokerAccount(credentials_version=1, credentials_expire=ends)
    assert told in credential_state(account, NOW)


def test_the_admin_takes_a_token_as_long_as_brokers_give_them():
    """A JWT of Angel One holds another one in it, and is well above a thousand characters."""
    field = credential_field("credential_angel_access_token", None)
    assert len(field.clean("x" * 2000)) == 2000
