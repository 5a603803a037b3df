"""The present of a bus after a hold-up: what it still brings may be of before. Pure.

Ticks of one bus come in the order of their publication, and so do the beats among them. A worker
that is asked for its latest beat and answers with its number says where now is: what comes before
that beat is old, what comes behind it is not. No clock has a part in it, so that it is true of
workers on other machines, too.
"""

from __future__ import annotations

__all__ = ["CatchingUp"]

# A beat comes each second: behind two of them an answer is lost rather than late.
_AGAIN_SECONDS = 2.5


class CatchingUp:
    """Finds where on one bus the present begins. ``is_behind`` until it has come."""

    def __init__(self) -> None:
        self.is_behind = False  # what comes may be of the time of a hold-up
        self._asked_at: float | None = None  # monotonic; None: no question is under way
        self._present: int | None = None  # the beat behind which everything is of now
        self._round = 0  # which question counts: answers to those before ``begin`` do not

    def begin(self) -> None:
        """Take everything for old from now on."""
        self.is_behind, self._asked_at, self._present = True, None, None
        self._round += 1

    def asks(self, now: float) -> int | None:
        """Return the number of the question that is to be asked ``now`` (monotonic), or None.

        One whose answer does not come is asked again; the first answer to either one counts.
        """
        if not self.is_behind or self._present is not None:
            return None
        if self._asked_at is not None and now - self._asked_at < _AGAIN_SECONDS:
            return None
        self._asked_at = now
        return self._round

    def answered(self, question: int, beat: int | None) -> None:
        """Take the number of the worker's latest beat; None: it did not answer, ask again."""
        if question != self._round or not self.is_behind:
            return
        if beat is None:
            self._asked_at = None
        else:
            self._present = beat

    def came(self, beat: int) -> None:
        """Note that this beat, and everything before it, has been read."""
        if self._present is not None and beat >= self._present:
            self.is_behind = False
