"""Memory goes back to the system: what is large at once, and nothing is kept for a text."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from streaming.allocator import LARGE_BYTES, give_free_back

_MAPPED = f"""
import ctypes
from streaming.allocator import return_large_pieces

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

glibc = ctypes.CDLL(None)
glibc.mallinfo2.restype = Info
if {{set_first}}:
    return_large_pieces()
bytes(8 << 20)  # which glibc takes as a sign that large pieces are usual
before = glibc.mallinfo2().hblks
kept = [bytes({LARGE_BYTES}) for _ in range(4)]
print(glibc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is an option of glibc")
@pytest.mark.parametrize(("set_first", "apart"), [(True, 4), (False, 0)])
def test_large_pieces_are_apart_from_what_lasts(set_first: bool, apart: int) -> None:
    """Without the option, too, as guard: by itself glibc puts them between everything else."""
    program = _MAPPED.format(set_first=set_first)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) == apart


class _Plain:
    """Something with attributes."""


def test_texts_by_which_attributes_were_looked_up_are_let_go_of() -> None:
    name = "".join(["not", "_there"])
    refs = sys.getrefcount(name)  # one more while Python keeps it, which 3.11 does
    getattr(_Plain(), name, None)
    give_free_back()
    assert sys.getrefcount(name) == refs
