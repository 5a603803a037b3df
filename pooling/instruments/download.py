"""Instruments masters from a broker's URL or from a file, as open files to parse."""

from __future__ import annotations

import asyncio
import io
import random
import tempfile
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import httpx2

from brokers.exceptions import BrokerError, BrokerProtocolError, BrokerUnavailableError
from brokers.masters.text import MAX_MASTER_BYTES
from pooling.clock import SystemClock
from pooling.exceptions import PoolExhaustedError
from pooling.http.policy import HttpOptions
from pooling.http.pool import HttpPool
from pooling.progress import Progress, no_progress

__all__ = ["download_master", "download_masters", "open_master"]

HEAD_BYTES = 256
GZIP = b"\x1f\x8b"
K = TypeVar("K", bound=Hashable)


def open_master(file: Path) -> BinaryIO:
    """Return the file, open.

    Raises:
        OSError: it cannot be read.
        BrokerProtocolError: it is too big, or a web page.
    """
    if file.stat().st_size > MAX_MASTER_BYTES:
        raise BrokerProtocolError(f"{file} is larger than {MAX_MASTER_BYTES:,} bytes")
    opened = file.open("rb")
    try:
        _refuse_web_page(opened, str(file))
    except BaseException:
        opened.close()
        raise
    return opened


def download_masters(
    urls: Mapping[K, str],
    *,
    options: HttpOptions | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
    progress: Progress = no_progress,
) -> dict[K, BinaryIO | BrokerError]:
    """Download all of ``urls`` (a name of the caller's to URL) side by side, through one pool.

    Each comes to a temporary file that is complete, stands at its start and is the caller's to
    close, or to the error that says why it did not. Not to be called on an event loop.
    """
    return asyncio.run(_download(urls, options, transport, progress))


def download_master(
    url: str,
    *,
    options: HttpOptions | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
    progress: Progress = no_progress,
) -> BinaryIO:
    """Return what ``url`` serves, completely, as a temporary file that the caller closes.

    Raises:
        BrokerUnavailableError: not reachable, not answered in time, cut short, or an HTTP error,
            also after the retries.
        BrokerRateLimitError: too many requests, also after the retries.
        BrokerAuthError: it wants a credential.
        BrokerProtocolError: larger than any instruments master, or a web page.
    """
    master = download_masters({"": url}, options=options, transport=transport, progress=progress)[
        ""
    ]
    if isinstance(master, BrokerError):
        raise master
    return master


async def _download(
    urls: Mapping[K, str],
    options: HttpOptions | None,
    transport: httpx2.AsyncBaseTransport | None,
    progress: Progress,
) -> dict[K, BinaryIO | BrokerError]:
    async with HttpPool(
        clock=SystemClock(), rng=random.SystemRandom(), options=options, transport=transport
    ) as pool:
        masters = await asyncio.gather(*(_one(pool, url, progress) for url in urls.values()))
    return dict(zip(urls, masters, strict=True))


async def _one(pool: HttpPool, url: str, progress: Progress) -> BinaryIO | BrokerError:
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    try:
        says_length = await pool.download(url, file, max_bytes=MAX_MASTER_BYTES, progress=progress)
        file.seek(0)
        _refuse_web_page(file, url)
        if not says_length:
            _refuse_cut_off(file, url)
    except (BrokerError, PoolExhaustedError) as error:
        file.close()
        return error if isinstance(error, BrokerError) else BrokerError(str(error))
    except BaseException:
        file.close()
        raise
    return file


def _refuse_cut_off(file: BinaryIO, name: str) -> None:
    """Refuse text that ends within a line; what is packed, or JSON, shows by itself that it is."""
    is_packed = file.read(len(GZIP)) == GZIP
    last = b"\n"
    if not is_packed and file.seek(0, io.SEEK_END):
        file.seek(-1, io.SEEK_END)
        last = file.read(1)
    file.seek(0)
    if last not in (b"\n", b"]", b"}"):
        raise BrokerUnavailableError(
            f"{name} ends in the middle of a line, and its host does not say how long it is"
        )


def _refuse_web_page(file: BinaryIO, name: str) -> None:
    """Say what it is when a host asks for a login, or says in HTML what is wrong with it."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise BrokerProtocolError(f"{name} is a web page and no instruments master")
