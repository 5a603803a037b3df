"""Brokers' instruments, as their masters list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

__all__ = [
    "CodeField",
    "Instrument",
    "InstrumentWord",
    "NamesRevision",
    "SearchTier",
    "starting_with",
]

if TYPE_CHECKING:
    _TextField = models.CharField[str, str]
else:
    _TextField = models.CharField


class CodeField(_TextField):
    """Text of letters, digits and signs that is ordered by its code points in every database.

    PostgreSQL orders text by its locale otherwise, and then an index can serve either a begin or
    an order, never both at once as a search needs.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        """See Django; SQLite compares bytes by itself."""
        parameters: dict[str, Any] = dict(super().db_parameters(connection))
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters


class SearchTier(models.IntegerChoices):
    """In which order a search shows instruments; expired ones it does not show."""

    CASH = 0, "share, index or pair"
    FUTURE = 1, "future"
    OPTION = 2, "option"
    EXPIRED = 3, "expired"

    @classmethod
    def of(cls, instrument_type: str) -> SearchTier:
        """Return the tier of an instrument that has not expired."""
        return {"FUT": cls.FUTURE, "CE": cls.OPTION, "PE": cls.OPTION}.get(
            instrument_type, cls.CASH
        )


class Instrument(models.Model):
    """One row of a broker's instruments master; exchange and symbol are in OpenAlgo's form.

    A row that is past its expiry or has left the master stays for a month, marked as expired: it
    is found in no search and cannot be subscribed, since its token may be another's by now.
    """

    broker = models.CharField(max_length=32)
    exchange = CodeField(max_length=16)
    symbol = CodeField(max_length=64, db_index=True)
    broker_token = models.CharField(max_length=64)
    broker_symbol = models.CharField(max_length=64)
    name = models.CharField(max_length=128, blank=True, help_text="In capitals, as it is searched.")
    expiry = models.DateField(null=True, blank=True)
    strike = models.FloatField(null=True, blank=True)
    tick_size = models.FloatField(null=True, blank=True)
    lot_size = models.FloatField(null=True, blank=True)
    instrument_type = models.CharField(max_length=16, blank=True)
    tier = models.PositiveSmallIntegerField(
        "kind", choices=SearchTier.choices, default=SearchTier.CASH
    )
    underlying = CodeField(
        max_length=64, blank=True, default="", help_text="Of a future or an option."
    )
    loaded = models.DateTimeField(help_text="When a master that lists it was last loaded.")

    class Meta:
        indexes = (
            # All that a search compares and sorts by, so that it reads rows of its result only.
            models.Index(
                fields=["broker", "tier", "symbol", "expiry", "strike", "exchange"],
                name="instrument_by_symbol",
            ),
            # A chain of 20,000 options is read in its order, and no further than asked.
            models.Index(
                fields=["broker", "tier", "underlying", "expiry", "strike", "symbol", "exchange"],
                name="instrument_by_underlying",
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["broker", "exchange", "symbol"], name="one_instrument_per_key"
            ),
        )

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"


class InstrumentWord(models.Model):
    """A word of the name of a share, an index or a pair, to be found by its begin."""

    instrument = models.ForeignKey(Instrument, on_delete=models.CASCADE, related_name="words")
    broker = models.CharField(max_length=32)
    word = CodeField(max_length=64)

    class Meta:
        indexes = (
            models.Index(
                fields=["broker", "word", "instrument"],
                name="instrument_word",
            ),
        )

    def __str__(self) -> str:
        return self.word


class NamesRevision(models.Model):
    """The count of changes of a broker's instruments' names: what workers look at for news.

    Counted up in the transaction of every load, and wherever contracts are marked as expired.
    """

    broker = models.CharField(max_length=32, unique=True)
    revision = models.PositiveBigIntegerField(default=0)
    changed = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.broker} {self.revision}"


def starting_with(field: str, prefix: str) -> Q:
    """Return the condition that a ``CodeField`` begins with ``prefix``, as a range of its index."""
    return Q(**{f"{field}__gte": prefix, f"{field}__lt": prefix + "\U0010ffff"})
