"""Names of what the demo makes, by which it is told from what people made."""

from __future__ import annotations

__all__ = ["KEY_NAME", "LABEL", "USERNAME"]

USERNAME = "demo"
LABEL = "demo"  # of its accounts
KEY_NAME = "demo"  # of its API key
