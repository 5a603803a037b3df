"""Threads that let the one that wakes them go on first."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from streaming.batch_threads import batch_threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this policy")


def policy_of_a_new_thread() -> int:
    """Start a thread and return its policy."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    return found[0]


def test_only_threads_that_begin_within_are_scheduled_in_batches():
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    with batch_threads():
        assert policy_of_a_new_thread() == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    assert policy_of_a_new_thread() == os.SCHED_OTHER
    assert os.getpriority(os.PRIO_PROCESS, 0) == niceness


def test_an_error_within_leaves_the_caller_as_it_was():
    with pytest.raises(ValueError, match="bind"), batch_threads():
        raise ValueError("bind")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_who_may_not_change_it_goes_on_without(monkeypatch):
    """A container's rules may forbid the call, or the system have none."""

    def refuse(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with batch_threads():
        assert policy_of_a_new_thread() == os.SCHED_OTHER
    monkeypatch.delattr(os, "sched_setscheduler")
    with batch_threads():
        assert policy_of_a_new_thread() == os.SCHED_OTHER


def test_a_policy_that_somebody_chose_stays(monkeypatch):
    changed: list[int] = []
    monkeypatch.setattr(os, "sched_getscheduler", lambda _thread: os.SCHED_FIFO)
    monkeypatch.setattr(os, "sched_setscheduler", lambda _thread, policy, _: changed.append(policy))
    with batch_threads():
        pass
    assert changed == []
