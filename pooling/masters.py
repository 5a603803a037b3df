"""Instruments masters from a broker's URL or from a file, as open files to parse."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import httpx2

from brokers.exceptions import BrokerError, BrokerProtocolError
from brokers.master_text import MAX_MASTER_BYTES
from pooling.clock import SystemClock
from pooling.exceptions import PoolExhaustedError
from pooling.http.policy import HttpOptions
from pooling.http.pool import HttpPool
from pooling.operations.progress import Progress, no_progress

__all__ = ["download_master", "download_masters", "open_master"]

K = TypeVar("K", bound=Hashable)


def open_master(file: Path) -> BinaryIO:
    """Return the file, open. Raises OSError, and BrokerProtocolError for one that is too big."""
    if file.stat().st_size > MAX_MASTER_BYTES:
        raise BrokerProtocolError(f"{file} is larger than {MAX_MASTER_BYTES:,} bytes")
    return file.open("rb")


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
        BrokerProtocolError: larger than any instruments master.
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
        await pool.download(url, file, max_bytes=MAX_MASTER_BYTES, progress=progress)
    except (BrokerError, PoolExhaustedError) as error:
        file.close()
        return error if isinstance(error, BrokerError) else BrokerError(str(error))
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file
