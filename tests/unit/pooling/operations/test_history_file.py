"""The file that the command line writes of a pool's history."""

from __future__ import annotations

import pytest

from pooling.operations.history import history_csv


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\uff1d", " =", "  \uff20"])
def test_a_label_is_no_formula(sign: str) -> None:
    """Neither behind spaces nor in the wide letters that spreadsheets know as well."""
    _, line = history_csv(f"{sign}1+1", [{"symbols": 3}])
    assert line == f"'{sign}1+1,3"
