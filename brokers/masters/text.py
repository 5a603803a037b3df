"""Lines of an instruments master that is text, gzipped or not, read as they are needed."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final, cast

from brokers.exceptions import BrokerProtocolError

__all__ = ["MAX_MASTER_BYTES", "fields_of", "master_lines", "master_table"]

# The largest known is about 50 MB; this stops a small file that unpacks without end.
MAX_MASTER_BYTES: Final = 128 * 1024 * 1024
_GZIP: Final = b"\x1f\x8b"


class _Bounded(io.RawIOBase):
    """Passes a file through and refuses to read more of it than a master has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        # Bytes that may still be read.
        self._left = MAX_MASTER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise BrokerProtocolError(f"larger than {MAX_MASTER_BYTES:,} bytes")
        buffer[: len(data)] = data
        return len(data)


def master_lines(master: BinaryIO) -> Iterator[str]:
    """Yield the lines of UTF-8 text with their ends, as ``csv.reader`` wants them.

    Args:
        master: seekable, and read from where it stands; stays open.

    Raises:
        BrokerProtocolError: broken compression, no UTF-8 text, or more than ``MAX_MASTER_BYTES``.
    """
    head = master.read(len(_GZIP))
    master.seek(-len(head), io.SEEK_CUR)
    file = cast(BinaryIO, gzip.GzipFile(fileobj=master)) if head == _GZIP else master
    try:
        with io.TextIOWrapper(
            io.BufferedReader(_Bounded(file)), encoding="utf-8-sig", newline=""
        ) as text:
            yield from text
    except UnicodeDecodeError as error:
        raise BrokerProtocolError("not UTF-8 text") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BrokerProtocolError(f"broken compression: {error}") from error


def master_table(
    master: BinaryIO, columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Yield the rows of a CSV file with a header, by column; each with its place, as "line 7".

    A row that is too short has None in what it lacks.

    Raises:
        BrokerProtocolError: as ``master_lines``, or a column of ``columns`` is missing, or a line
            is no CSV.
    """
    reader = csv.DictReader(master_lines(master))
    try:
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise BrokerProtocolError(f"no column {missing[0]!r}")
        for values in reader:
            yield f"line {reader.line_num}", values
    except csv.Error as error:
        raise BrokerProtocolError(f"line {reader.line_num}: {error}") from error


def fields_of(values: dict[str, str | None], columns: Sequence[str]) -> dict[str, str]:
    """Return the row's ``columns`` without spaces around them.

    Raises:
        BrokerProtocolError: the row lacks one of them.
    """
    fields = {column: value.strip() for column in columns if (value := values[column]) is not None}
    if len(fields) < len(columns):
        raise BrokerProtocolError("too few columns")
    return fields
