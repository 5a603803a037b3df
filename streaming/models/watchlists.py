"""Watchlists of people."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

__all__ = [
    "MAX_WATCHLISTS",
    "MAX_WATCHLIST_ITEMS",
    "WATCH_COLUMNS",
    "Watchlist",
    "validate_items",
    "validate_view",
]

MAX_WATCHLIST_ITEMS = 1000
MAX_WATCHLISTS = 20  # of one user
MAX_NAME_LENGTH = 64
WATCH_COLUMNS = (
    "symbol",
    "trend",
    "last",
    "change",
    "percent",
    "range",
    "bid",
    "ask",
    "volume",
    "age",
)
SORTABLE = frozenset(WATCH_COLUMNS) - {"trend", "range"}
_EXAMPLES = {"exchange": "NSE", "symbol": "RELIANCE"}


def validate_items(value: object) -> None:
    """Refuse anything but a list of ``{"exchange": text, "symbol": text}`` of bounded size."""
    if not isinstance(value, list):
        raise ValidationError("symbols must be a list")
    if len(value) > MAX_WATCHLIST_ITEMS:
        raise ValidationError(f"a watchlist holds at most {MAX_WATCHLIST_ITEMS} symbols")
    for position, item in enumerate(value):
        missing = _EXAMPLES.keys() - item.keys() if isinstance(item, dict) else ()
        for field in sorted(missing):
            raise ValidationError(
                f"symbols[{position}]: '{field}' is missing; e.g. {_EXAMPLES[field]}"
            )
        if not isinstance(item, dict) or set(item) != {"exchange", "symbol"}:
            raise ValidationError(
                f"symbols[{position}] must hold exchange and symbol, nothing else"
            )
        if not all(
            isinstance(part, str) and 0 < len(part) <= MAX_NAME_LENGTH for part in item.values()
        ):
            raise ValidationError(
                f"symbols[{position}]: exchange and symbol are text of 1 to "
                f"{MAX_NAME_LENGTH} characters"
            )


def validate_view(value: object) -> None:
    """Refuse anything but ``{"sort"?: "column" or "-column", "columns"?: [column, ...]}``.

    Without ``sort`` rows stand in the list's own order; without ``columns`` the page chooses by
    the room that it has.
    """
    if not isinstance(value, dict) or not set(value) <= {"sort", "columns"}:
        raise ValidationError("view holds sort and columns, nothing else")
    sort = value.get("sort", "symbol")
    if not isinstance(sort, str) or sort.removeprefix("-") not in SORTABLE:
        raise ValidationError(f"view.sort is one of {', '.join(sorted(SORTABLE))}, or -it")
    columns = value.get("columns", [])
    is_known = isinstance(columns, list) and all(isinstance(each, str) for each in columns)
    if not is_known or len(set(columns)) < len(columns) or not set(columns) <= set(WATCH_COLUMNS):
        raise ValidationError(f"view.columns are some of {', '.join(WATCH_COLUMNS)}, each once")


class Watchlist(models.Model):
    """What a user watches, in the user's order."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="watchlists"
    )
    name = models.CharField(max_length=64, default="main")
    symbols = models.JSONField(default=list, blank=True, validators=[validate_items])
    view = models.JSONField(default=dict, blank=True, validators=[validate_view])
    position = models.PositiveIntegerField(default=0)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["user", "name"], name="one_watchlist_per_name"),
        )
        ordering = ("position", "id")

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"

    def clean(self) -> None:
        """Refuse a name that a person could not read or type."""
        if not self.name.strip() or not self.name.isprintable():
            raise ValidationError({"name": "A list's name is text that can be seen, on one line."})
