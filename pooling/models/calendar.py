"""Days on which markets differ from their week, as somebody entered or loaded them."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models

from pooling.calendar.days import Hours, Market, TradingDays

__all__ = ["TradingDay", "trading_days"]


class TradingDay(models.Model):
    """A holiday of one market (no hours), or one session of a day that is no usual one.

    A day with two sessions has two rows. Where any row of a day has hours, it is no holiday.
    """

    market = models.CharField(max_length=16, choices=[(each.value, each.value) for each in Market])
    day = models.DateField()
    opens = models.TimeField(null=True, blank=True, help_text="India time; empty: a holiday.")
    closes = models.TimeField(null=True, blank=True)
    note = models.CharField(max_length=80, blank=True, help_text="Such as the festival.")

    class Meta:
        ordering = ("-day", "market", "opens")
        constraints: ClassVar = (
            models.UniqueConstraint(
                fields=["market", "day", "opens"], name="one_row_per_session_of_a_day"
            ),
            models.UniqueConstraint(
                fields=["market", "day"],
                condition=models.Q(opens__isnull=True),
                name="one_row_per_holiday",
            ),
        )

    def __str__(self) -> str:
        hours = f"{self.opens:%H:%M} to {self.closes:%H:%M}" if self.opens and self.closes else ""
        return f"{self.day} {self.market}: {hours or 'holiday'}"

    def clean(self) -> None:
        """Refuse half a session, or one that ends before it begins."""
        super().clean()
        if (self.opens is None) != (self.closes is None):
            raise ValidationError("Enter both times, or neither for a holiday.")
        if self.opens is not None and self.closes is not None and self.closes <= self.opens:
            raise ValidationError({"closes": "A session closes after it opens."})


def trading_days() -> TradingDays:
    """Return what is entered, as the pure rules read it."""
    found: dict[tuple[Market, object], tuple[Hours, ...]] = {}
    known = {each.value for each in Market}
    for row in TradingDay.objects.filter(market__in=known):
        key = (Market(row.market), row.day)
        hours = found.setdefault(key, ())
        if row.opens is not None and row.closes is not None and row.closes > row.opens:
            found[key] = (*hours, Hours(row.opens, row.closes))
    return TradingDays(entered=found)  # type: ignore[arg-type]
