"""Rows of an instruments master that become no instrument, counted by reason. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from brokers.exceptions import BrokerProtocolError
from brokers.types import InstrumentRow

__all__ = ["LeftOut", "PassedOver", "Reason", "usable_rows"]

T = TypeVar("T")

EXAMPLES: Final = 3
MAX_REASONS: Final = 20
MAX_EXAMPLE_CHARACTERS: Final = 100
# Of all rows so far: a file of which more cannot be read is not the master that was written down.
MOST_UNUSABLE_SHARE: Final = 0.05
FEW_UNUSABLE: Final = 20
_VALUE: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


@dataclass(slots=True)
class Reason:
    """Rows that were passed over for one reason, with the first few of them.

    ``is_fault`` tells that they should have been instruments: the master or our reading of it is
    at fault. Others are none by what the broker's feed is.
    """

    text: str
    is_fault: bool
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        """Count one more row."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example[:MAX_EXAMPLE_CHARACTERS])


class PassedOver:
    """Count of the rows that a load leaves out. Not safe from several threads.

    Attributes:
        reasons: by their text, in the order in which they came up.
        renamed: instruments that got another name, as theirs is taken; these are not left out.
        rows: how many rows were read, those that became instruments included.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, Reason] = {}
        self.renamed = Reason("share a name with another and end in their token", is_fault=False)
        self.rows = 0
        self._unusable = 0  # rows of which a column that is needed could not be read

    @property
    def count(self) -> int:
        """All rows that were passed over."""
        return sum(reason.count for reason in self.reasons.values())

    @property
    def faults(self) -> int:
        """Those of them that should have been instruments."""
        return sum(reason.count for reason in self.reasons.values() if reason.is_fault)

    def leave_out(self, text: str, example: str, *, is_fault: bool = False) -> None:
        """Note one row that is left out because ``text``."""
        if text not in self.reasons and len(self.reasons) >= MAX_REASONS:
            text = "other reasons"
        reason = self.reasons.setdefault(text, Reason(text, is_fault))
        reason.is_fault |= is_fault
        reason.add(example)

    def unusable(self, place: str, error: Exception) -> None:
        """Note a row that has no usable token, name, expiry or strike; ``place`` says which.

        Raises:
            BrokerProtocolError: too many rows are like that, so that the file is no master.
        """
        words = str(error)
        self.leave_out(_VALUE.sub("…", words), f"{place}: {words}", is_fault=True)
        self._unusable += 1
        if self._unusable > max(FEW_UNUSABLE, self.rows * MOST_UNUSABLE_SHARE):
            raise BrokerProtocolError(
                f"{self._unusable} of {self.rows} rows cannot be used, the last one at {place}: "
                f"{words}"
            )


class LeftOut(NamedTuple):
    """A row that is none of this feed's instruments: why, and what it is called.

    ``is_fault`` where that is not what the feed is, but a segment that nobody has heard of.
    """

    why: str
    example: str
    is_fault: bool = False


def usable_rows(
    rows: Iterable[tuple[str, T]],
    read: Callable[[T], InstrumentRow | LeftOut],
    passed: PassedOver | None,
) -> Iterator[InstrumentRow]:
    """Yield what ``read`` makes of each row, in order; note the others in ``passed``.

    Args:
        rows: each with its place in the file, as "line 7".
        read: raises BrokerProtocolError for a row that lacks what an instrument needs.
        passed: notes those; None: the first one ends the reading.

    Raises:
        BrokerProtocolError: a row cannot be used and nothing notes it, or too many, or the last
            one: then the file is cut off.
    """
    cut_off: BrokerProtocolError | None = None
    for place, row in rows:
        cut_off = None
        if passed is not None:
            passed.rows += 1
        try:
            found = read(row)
        except BrokerProtocolError as error:
            if passed is None:
                raise BrokerProtocolError(f"{place}: {error}") from error
            passed.unusable(place, error)
            cut_off = BrokerProtocolError(f"{place}, the last one: {error}; is the file whole?")
            continue
        if isinstance(found, LeftOut):
            if passed is not None:
                passed.leave_out(found.why, found.example, is_fault=found.is_fault)
        else:
            yield found
    if cut_off is not None:
        raise cut_off
