"""Brokers' instruments, as their masters list them."""

from __future__ import annotations

from django.db import connection, models
from django.db.models import Q

from brokers.types import Instrument as InstrumentValue
from brokers.types import InstrumentKey

__all__ = ["Instrument", "starting_with"]


class Instrument(models.Model):
    """One row of a broker's instruments master; exchange and symbol are in OpenAlgo's form."""

    broker = models.CharField(max_length=32)
    exchange = models.CharField(max_length=16)
    symbol = models.CharField(max_length=64, db_index=True)
    broker_token = models.CharField(max_length=64)
    broker_symbol = models.CharField(max_length=64)
    name = models.CharField(max_length=128, blank=True, help_text="In capitals, as it is searched.")
    expiry = models.DateField(null=True, blank=True)
    strike = models.FloatField(null=True, blank=True)
    tick_size = models.FloatField(null=True, blank=True)
    lot_size = models.FloatField(null=True, blank=True)
    instrument_type = models.CharField(max_length=16, blank=True)
    loaded = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["broker", "exchange", "symbol"], name="one_instrument_per_key"
            ),
        )

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"

    def to_value(self) -> InstrumentValue:
        """Return the row as the tick path needs it."""
        return InstrumentValue(
            key=InstrumentKey(self.exchange, self.symbol), broker_token=self.broker_token
        )


def starting_with(field: str, prefix: str) -> Q:
    """Return the condition that ``field`` begins with ``prefix``, in the form that uses the index.

    SQLite's LIKE ignores an index of binary collation, a range does not; PostgreSQL's locales order
    punctuation in their own way, and its pattern index answers LIKE.
    """
    if connection.vendor == "sqlite":
        return Q(**{f"{field}__gte": prefix, f"{field}__lt": prefix + "\U0010ffff"})
    return Q(**{f"{field}__startswith": prefix})
