"""What clients did not get is counted by reason, also of those that are gone."""

from __future__ import annotations

from streaming.clients.batch_outbox import BatchOutbox
from streaming.clients.batches import Cohort
from streaming.clients.outbox import Outbox
from streaming.clients.outbox_counts import OutboxCounts


def test_the_gone_and_the_present_are_added_up_by_reason() -> None:
    gone: Outbox[str] = Outbox(max_bytes=1)
    for payload in ("1", "2", "3"):
        gone.push_tick("a", payload)  # the last one is kept
    gone.push_tick("b", "4")
    gone.finish()
    gone.finish()
    present: Outbox[str] = Outbox()
    for payload in ("1", "2"):
        present.push_tick("a", payload)
    present.push_tick("b", "3")
    present.push_control("answer")
    present.purge(["a"])
    counts = OutboxCounts().plus([gone])
    assert counts == (2, 0, 2)
    assert counts.plus([present]) == (2, 2, 2)
    assert present.take(9) == ["3", "answer"]


def test_what_waits_for_a_batch_counts_too() -> None:
    cohort = Cohort(interval=1.0, clock=lambda: 0.0, call_later=lambda _seconds, _function: None)
    outbox = BatchOutbox(cohort=cohort)
    for line in ("a", "b"):
        outbox.join(line)
        outbox.push_tick(line, b"{}")
    outbox.leave("a")
    outbox.finish()
    assert OutboxCounts().plus([outbox]) == (0, 1, 1)
