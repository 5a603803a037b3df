"""Started as a script: become another program that dies with the process that started it.

``python guarded.py PARENT_PID PROGRAM ARG...`` asks Linux to kill this process when its parent
ends, however that ends, and then becomes PROGRAM: the request survives ``exec``. Without it, a
supervisor killed with -9 would leave its children running with their ports taken. It is a program
of its own and not a ``preexec_fn`` because nothing but ``exec`` is safe between ``fork`` and
``exec`` in a process that has threads. Where there is no ``prctl`` it only becomes the program.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["die_with_parent"]

PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: int) -> None:
    """Ask Linux to send ``signal_number`` to this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def main(parent: int, program: list[str]) -> None:
    """Arrange the end and become ``program``."""
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request was in force
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - the caller's own fixed command, no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
