"""Decimal text becomes exact integers, or an error."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.exceptions import BrokerProtocolError
from brokers.masters.decimal_text import normal_decimal, scaled

NOT_NUMBERS = ["", ".", "1.", ".5", "-1", "+1", "1e5", "NaN", " 1", "1 ", "1,5", "0x1", "٣", "²"]


@given(st.integers(0, 10**20 - 1), st.integers(0, 8))
def test_scaling_loses_nothing(units: int, decimals: int) -> None:
    """Whatever has at most eight decimals comes out as its exact multiple."""
    text = f"{Decimal(units).scaleb(-decimals):f}"
    assert scaled(text, 8) == units * 10 ** (8 - decimals)


def test_zeros_beyond_the_scale_are_no_loss() -> None:
    assert scaled("0.10000000000", 8) == 10_000_000


def test_decimals_beyond_the_scale_are_refused() -> None:
    """Rounding a price silently is worse than dropping a frame."""
    with pytest.raises(BrokerProtocolError, match="more than 8 decimals"):
        scaled("0.123456789", 8)


@pytest.mark.parametrize("text", [*NOT_NUMBERS, "9" * 21, "1." + "1" * 21, "9" * 5000])
def test_what_is_no_decimal_is_refused(text: str) -> None:
    with pytest.raises(BrokerProtocolError):
        scaled(text, 8)
    with pytest.raises(BrokerProtocolError):
        normal_decimal(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("23500.0", "23500"),
        ("83.2500", "83.25"),
        ("0.00010000", "0.0001"),
        ("100", "100"),
        ("0.0", "0"),
        ("007", "7"),
    ],
)
def test_superfluous_zeros_go(text: str, normal: str) -> None:
    assert normal_decimal(text) == normal
