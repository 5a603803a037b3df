"""Cells of CSV files that people open in a spreadsheet."""

from __future__ import annotations

__all__ = ["safe_cell"]

# Spreadsheets take text that begins with one of these for a formula, and run it.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_cell(text: str) -> str:
    """Return what stands for ``text`` in a cell: no spreadsheet takes it for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
