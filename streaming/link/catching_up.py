"""Whether what a bus still brings is of now, or of the time in which somebody was held up. Pure.

Ticks of one bus come in the order of their publication, and so do the beats among them. A worker
that is asked for its latest beat and answers with its number says where now is: what comes before
that beat is old, what comes behind it is not. No clock has a part in it, so that it is true of
workers on other machines, too.
"""

from __future__ import annotations

__all__ = ["CatchingUp"]


class CatchingUp:
    """Finds where on one bus the present begins. ``is_behind`` until it has come."""

    def __init__(self) -> None:
        self.is_behind = False
        self._is_asked = False
        self._present: int | None = None  # the beat behind which everything is of now
        self._round = 0  # which question counts: answers to those before ``begin`` do not

    def begin(self) -> None:
        """Take everything for old from now on."""
        self.is_behind, self._is_asked, self._present = True, False, None
        self._round += 1

    def asks(self) -> int | None:
        """Return the number of the question that is to be asked now, or None."""
        if not self.is_behind or self._is_asked:
            return None
        self._is_asked = True
        return self._round

    def answered(self, question: int, beat: int | None) -> None:
        """Take the number of the worker's latest beat; None: it did not answer, ask again."""
        if question != self._round or not self.is_behind:
            return
        if beat is None:
            self._is_asked = False
        self._present = beat

    def came(self, beat: int) -> None:
        """Note that this beat, and everything before it, has been read."""
        if self._present is not None and beat >= self._present:
            self.is_behind = False
