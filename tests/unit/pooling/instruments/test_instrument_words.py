"""What an instrument is found by besides its symbol."""

from __future__ import annotations

import pytest

from pooling.instruments.words import name_words, underlying_of


@pytest.mark.parametrize(
    ("symbol", "underlying"),
    [
        ("NIFTY28MAR24FUT", "NIFTY"),
        ("NIFTY28MAR2420800CE", "NIFTY"),
        ("USDINR28MAR2482.5PE", "USDINR"),
        ("M&M28MAR24FUT", "M&M"),
        ("BAJAJ-AUTO28MAR249000CE", "BAJAJ-AUTO"),
        ("NIFTYNXT5028MAR24FUT", "NIFTYNXT50"),
        ("RELIANCE", ""),
        ("BTCUSDT", ""),
        ("28MAR24FUT", ""),
    ],
)
def test_a_derivative_names_its_underlying(symbol: str, underlying: str) -> None:
    assert underlying_of(symbol) == underlying


def test_words_of_a_name_are_capitals_and_each_once() -> None:
    assert name_words("Bank of Baroda (bank)") == ["BANK", "OF", "BARODA"]
    assert name_words("BTC/USDT") == ["BTC", "USDT"]
    assert name_words("") == []
    assert len(name_words(" ".join(map(str, range(99))))) == 12
    assert name_words("x" * 99) == ["X" * 64]
