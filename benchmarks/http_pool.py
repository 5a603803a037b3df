"""200 requests to a broker at concurrency 20, over TLS on loopback, with and without the pool."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2

from benchmarks.harness import RUNS, Child, Result, cores, median
from pooling.clock import SystemClock
from pooling.http.policy import HttpOptions
from pooling.http.pool import HttpPool

__all__ = ["http_pool"]

_REQUESTS, _CONCURRENCY = 200, 20
Ask = Callable[[], Awaitable[bool]]


async def http_pool() -> AsyncIterator[Result]:
    """Without the pool every request has a client, and so a handshake, of its own.

    ``less_time_percent`` is what the pool saves of the time without it. The TLS context is made
    once for both: making it again would cost the side without the pool far more than the network.
    """
    for protocol, name in (("h2", "HTTP/2"), ("http/1.1", "HTTP/1.1")):
        server = Child("benchmarks.https_server", cores()[0], [protocol])
        try:
            started = await server.start()
            context = ssl.create_default_context(cadata=started["certificate"])
            yield await _compared(server, started["url"], context, name)
        finally:
            await server.stop()


async def _compared(server: Child, url: str, context: ssl.SSLContext, name: str) -> Result:
    bare, pooled = [], []
    connections, is_right = [0, 0], True
    for _ in range(RUNS):
        bare.append(await _timed(lambda: _alone(url, context)))
        seen = await server.ask()
        connections[0] = seen["connections"]
        is_right &= seen["requests"] == _REQUESTS == seen["connections"]
        pool = HttpPool(
            clock=SystemClock(), rng=random.Random(1), options=HttpOptions(), verify=context
        )
        async with pool:
            pooled.append(await _timed(lambda pool=pool: _through(pool, url, name)))
        seen = await server.ask()
        connections[1] = seen["connections"]
        is_right &= seen["requests"] == _REQUESTS and seen["connections"] <= _CONCURRENCY
    without, with_pool = median(bare), median(pooled)
    return Result(
        f"{_REQUESTS} requests by {_CONCURRENCY}, TLS, {name}",
        {
            "without_ms": without * 1e3,
            "with_pool_ms": with_pool * 1e3,
            "less_time_percent": 100 * (1 - with_pool / without),
            "connections_without": connections[0],
            "connections_with_pool": connections[1],
        },
        correct=is_right,
        notes="every request answered once, over as many connections as told",
        runs=RUNS,
    )


async def _timed(ask: Ask) -> float:
    """Return how long all requests take; the first of them pay for their connections."""
    places = asyncio.Semaphore(_CONCURRENCY)

    async def one() -> bool:
        async with places:
            return await ask()

    started = time.perf_counter()
    answers = await asyncio.gather(*(one() for _ in range(_REQUESTS)))
    elapsed = time.perf_counter() - started
    if not all(answers):
        raise RuntimeError("a request was not answered as it should be")
    return elapsed


async def _alone(url: str, context: ssl.SSLContext) -> bool:
    async with httpx2.AsyncClient(verify=context, http2=True) as client:
        return (await client.get(url)).status_code == httpx2.codes.OK


async def _through(pool: HttpPool, url: str, version: str) -> bool:
    reply = await pool.request("GET", url)
    return reply.status == 200 and reply.http_version == version
