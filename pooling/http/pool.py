"""HTTP connections to brokers, kept and shared: ``HttpPool``."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType, TracebackType
from typing import Any, BinaryIO, Self

import httpx2

from brokers.endpoints.hosts import may_redirect
from brokers.exceptions import BrokerAuthError, BrokerError, BrokerUnavailableError
from brokers.words import counted, one_line
from pooling.clock import Clock
from pooling.connectors.circuit import FIRST_SERVER_ERROR, CircuitBreaker
from pooling.connectors.circuit_connector import CircuitRegistry, endpoint_of
from pooling.exceptions import HttpUnavailableError, PoolClosedError, PoolExhaustedError
from pooling.http.body import Body, FileBody, MemoryBody
from pooling.http.policy import HttpOptions, HttpReply, error_of
from pooling.http.routes import RoutedTransport
from pooling.http.stats import EndpointCounts, HttpStats
from pooling.progress import Progress, no_progress
from pooling.retry_waits import Randomness

__all__ = ["HttpPool"]

logger = logging.getLogger("pooling")

CLOSE_SECONDS = 5.0
# What may be gone at the next try; a wrong scheme or a loop of redirects stays.
_PASSING = (
    httpx2.TimeoutException,
    httpx2.NetworkError,
    httpx2.RemoteProtocolError,
    httpx2.ProxyError,
)
_KEPT_TO_HOST = "tickpool.kept_to_host"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class _Endpoint:
    """One scheme, host and port as the pool knows it."""

    def __init__(self, circuit: CircuitBreaker, places: int) -> None:
        self.circuit = circuit
        self.places = asyncio.Semaphore(places)
        self.counts = EndpointCounts()


class HttpPool:
    """Requests to brokers over kept connections, HTTP/2 where offered. Open with ``async with``.

    Belongs to one event loop; its coroutines may run side by side, and cancelling one costs that
    request only. Idempotent requests are repeated as ``options.retry`` says; every endpoint has a
    circuit breaker, so that one that is down is not hammered.

    Args:
        clock: where time is read.
        rng: jitter of retries and circuits.
        options: limits and times.
        verify: the TLS context; None takes the system's certificate authorities.
        transport: sends the requests instead of the network, in tests.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        rng: Randomness,
        options: HttpOptions | None = None,
        verify: ssl.SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._options = options or HttpOptions()
        self._clock = clock
        self._rng = rng
        self._verify = verify
        self._transport = transport
        self._circuits = CircuitRegistry(clock=clock, rng=rng, policy=self._options.circuit)
        self._endpoints: dict[str, _Endpoint] = {}  # by scheme, host and port
        self._places = asyncio.Semaphore(self._options.max_connections)  # of all endpoints
        self._client: httpx2.AsyncClient | None = None  # from ``async with`` until ``close``
        self._closing = asyncio.Event()
        self._idle = asyncio.Event()  # nothing is under way
        self._idle.set()
        self._in_flight = 0  # requests under way

    def __repr__(self) -> str:
        state = "closed" if self._closing.is_set() else "open" if self._client else "new"
        return f"<HttpPool {state}, {self._in_flight} requests, {len(self._endpoints)} endpoints>"

    async def __aenter__(self) -> Self:
        """Make the client; no connection is opened yet."""
        options = self._options
        self._client = httpx2.AsyncClient(
            transport=self._transport
            or RoutedTransport(proxies=options.proxies, make=self._make_transport),
            timeout=options.timeout_seconds,
            follow_redirects=options.follows_redirects,
            event_hooks={"response": [_keep_to_host]},
            trust_env=False,
        )
        return self

    def _make_transport(self, proxy: str | None) -> httpx2.AsyncHTTPTransport:
        options = self._options
        if self._verify is None:
            self._verify = httpx2.create_ssl_context()  # takes 20 ms: once for all ways
        return httpx2.AsyncHTTPTransport(
            verify=self._verify,
            http2=options.is_http2_offered,
            limits=httpx2.Limits(
                max_connections=options.max_connections,
                max_keepalive_connections=options.max_connections,
                keepalive_expiry=options.keepalive_seconds,
            ),
            proxy=proxy,
            trust_env=False,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, grace_seconds: float = CLOSE_SECONDS) -> None:
        """Refuse new requests, let those under way end, then close all connections. Idempotent.

        Requests that are still under way after ``grace_seconds``, and all that wait for a retry,
        raise PoolClosedError.
        """
        self._closing.set()
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(grace_seconds):
                await self._idle.wait()
        except TimeoutError:
            under_way = counted(self._in_flight, "request")
            logger.warning("HTTP pool: closed with %s under way", under_way)
        finally:
            await client.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        content: bytes | None = None,
    ) -> HttpReply:
        """Send a request and return the complete answer, of any status but 429 and server errors.

        Raises:
            BrokerRateLimitError: HTTP 429, also after the retries.
            BrokerUnavailableError: no complete answer, or a server error, also after the retries;
                CircuitOpenError when nothing was tried because the endpoint is down.
            BrokerProtocolError: the answer is too large.
            PoolExhaustedError: no place became free in time.
            PoolClosedError: the pool is closed.
        """
        body = MemoryBody(max_bytes=self._options.max_body_bytes)
        request = self._build(method, url, headers, content)
        status, version, answered = await self._perform(request, body, no_progress)
        return HttpReply(status=status, http_version=version, headers=answered, body=body.value())

    async def download(
        self,
        url: str,
        file: BinaryIO,
        *,
        max_bytes: int,
        headers: Mapping[str, str] = _NO_HEADERS,
        progress: Progress = no_progress,
    ) -> bool:
        """Write what ``url`` serves to ``file``, as it comes; a retry begins it again.

        Returns whether the answer said how long it is: if not, its end may be that of a connection
        that was cut.

        Raises:
            BrokerAuthError: HTTP 401 or 403.
            BrokerUnavailableError: any other status but those of success; and all that ``request``
                raises. The file then holds nothing that may be used.
        """
        request = self._build("GET", url, headers, None)
        body = FileBody(file=file, max_bytes=max_bytes)
        status, version, answered = await self._perform(request, body, progress)
        if status in (401, 403):
            raise BrokerAuthError(f"{_named(request)} refused the credential (HTTP {status})")
        if not 200 <= status < 300:
            raise BrokerUnavailableError(f"{_named(request)} answered with HTTP {status}")
        return (
            version == "HTTP/2"
            or "Content-Length" in answered
            or "chunked" in answered.get("Transfer-Encoding", "").lower()
        )

    def get_stats(self) -> HttpStats:
        """Return what was done and is being done at every endpoint."""
        now = self._clock.monotonic()
        return HttpStats(
            max_connections=self._options.max_connections,
            max_connections_per_host=self._options.max_connections_per_host,
            endpoints=tuple(
                each.counts.to_stats(each.circuit.to_stats(now))
                for _, each in sorted(self._endpoints.items())
            ),
        )

    def _build(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> httpx2.Request:
        if self._client is None:
            raise PoolClosedError("the HTTP pool is not open")
        try:
            # Headers and bodies may hold a credential; a request without them goes anywhere.
            return self._client.build_request(
                method.upper(),
                url,
                headers=dict(headers),
                content=content,
                extensions={_KEPT_TO_HOST: bool(headers or content)},
            )
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise BrokerUnavailableError(f"{_unread(url)!r} cannot be read: {error}") from error

    async def _perform(
        self, request: httpx2.Request, body: Body, progress: Progress
    ) -> tuple[int, str, Mapping[str, str]]:
        """Send until there is an answer, or no further retry."""
        endpoint = self._endpoint(str(request.url))
        endpoint.counts.requests += 1
        retries = 0
        try:
            async with asyncio.timeout(self._options.total_seconds):
                while True:
                    try:
                        return await self._attempt(endpoint, request, body, progress)
                    except BrokerError as error:
                        wait = self._options.retry.wait_seconds(
                            request.method, retries, error, self._rng
                        )
                        if wait is None or self._closing.is_set():
                            raise
                        logger.info("%s; trying again in %.1f s", _told(request, error), wait)
                    await self._pause(wait)
                    retries += 1
                    endpoint.counts.retries += 1
                    body.restart()
        except TimeoutError:
            raise HttpUnavailableError(
                f"{_named(request)} was not answered within {self._options.total_seconds:g} s"
            ) from None

    async def _attempt(
        self, endpoint: _Endpoint, request: httpx2.Request, body: Body, progress: Progress
    ) -> tuple[int, str, Mapping[str, str]]:
        async with self._place(endpoint):
            client = self._client
            if client is None:
                raise PoolClosedError("the HTTP pool is closed")
            circuit, counts = endpoint.circuit, endpoint.counts
            attempt = circuit.admit(self._clock.monotonic())
            is_up: bool | None = None
            counts.attempts += 1
            opened = request.extensions["trace"] = _Opened(counts)
            try:
                response = await client.send(request, stream=True)
                try:
                    is_up = response.status_code < FIRST_SERVER_ERROR
                    return await self._receive(response, request, counts, body, progress)
                finally:
                    await response.aclose()
            except httpx2.HTTPError as error:
                counts.failures += 1
                if isinstance(error, httpx2.ProxyError):
                    await opened.close()
                if self._closing.is_set():
                    raise PoolClosedError("the HTTP pool was closed") from error
                text = f"{_named(request)} cannot be read: {self._words_of(error)}"
                if proxy := self._options.proxies.proxy_for(str(request.url)):
                    text += f", through the proxy {proxy}"
                if not isinstance(error, _PASSING):
                    raise BrokerUnavailableError(text) from error
                is_up = is_up or False
                raise HttpUnavailableError(text) from error
            finally:
                # A cancellation says nothing about the endpoint.
                circuit.report(attempt, is_up, self._clock.monotonic())

    def _words_of(self, error: httpx2.HTTPError) -> str:
        words = str(error) or type(error).__name__
        if isinstance(error, httpx2.TimeoutException):
            words += f" after {self._options.timeout_seconds:g} s"
        return words

    async def _receive(
        self,
        response: httpx2.Response,
        request: httpx2.Request,
        counts: EndpointCounts,
        body: Body,
        progress: Progress,
    ) -> tuple[int, str, Mapping[str, str]]:
        headers = {name.title(): value for name, value in response.headers.items()}
        error = error_of(_named(request), response.status_code, headers)
        if error is not None:
            counts.rate_limited += response.status_code == httpx2.codes.TOO_MANY_REQUESTS
            counts.failures += response.status_code >= FIRST_SERVER_ERROR
            raise error
        size = headers.get("Content-Length", "")
        total = int(size) if size.isascii() and size.isdigit() and len(size) < 16 else None
        seen = 0
        async for part in response.aiter_bytes():
            body.write(part)
            # The header counts compressed bytes, which is what came over the wire.
            counts.bytes_received += response.num_bytes_downloaded - seen
            seen = response.num_bytes_downloaded
            progress("downloading", seen, total, "bytes")
        counts.replies += 1
        counts.replies_http2 += response.http_version == "HTTP/2"
        return response.status_code, response.http_version, headers

    @asynccontextmanager
    async def _place(self, endpoint: _Endpoint) -> AsyncIterator[None]:
        """Wait for a place at the endpoint first, so that a slow one cannot hold the others'."""
        counts, options = endpoint.counts, self._options
        counts.waiting += 1
        try:
            try:
                async with asyncio.timeout(options.timeout_seconds):
                    await endpoint.places.acquire()
            except TimeoutError:
                raise PoolExhaustedError(
                    options.max_connections_per_host, options.timeout_seconds
                ) from None
            try:
                async with asyncio.timeout(options.timeout_seconds):
                    await self._places.acquire()
            except BaseException as error:
                endpoint.places.release()
                if isinstance(error, TimeoutError):
                    raise PoolExhaustedError(
                        options.max_connections, options.timeout_seconds
                    ) from None
                raise
        finally:
            counts.waiting -= 1
        counts.in_flight += 1
        self._in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            counts.in_flight -= 1
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
            self._places.release()
            endpoint.places.release()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return
        raise PoolClosedError("the HTTP pool was closed")

    def _endpoint(self, url: str) -> _Endpoint:
        name = endpoint_of(url)
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            endpoint = _Endpoint(
                self._circuits.circuit(url), self._options.max_connections_per_host
            )
            self._endpoints[name] = endpoint
        return endpoint


class _Opened:
    """httpcore2's trace: counts the connections that a request opened, and knows the last.

    A proxy that refuses over SOCKS leaves its connection open, until the collector finds it or
    the process ends (httpcore2 2.16.2), also once the client is closed: ``close`` ends it.
    """

    def __init__(self, counts: EndpointCounts) -> None:
        self._counts = counts
        self._stream: Any = None  # the last one opened

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".connect_tcp.complete"):
            self._counts.connections_opened += 1
            self._stream = info["return_value"]

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()


def _told(request: httpx2.Request, error: BrokerError) -> str:
    """Return what failed and why, the URL once."""
    named, words = _named(request), one_line(error)
    return words if named in words else f"{named}: {words}"


def _named(request: httpx2.Request) -> str:
    """Return the URL without what may be secret in it."""
    return str(request.url.copy_with(query=None, fragment=None, userinfo=b""))


def _unread(url: str) -> str:
    """Return the beginning of what is no URL, without what may be secret in it."""
    before = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"//[^/]*@", "//", before)[:100]


async def _keep_to_host(response: httpx2.Response) -> None:
    """Refuse a redirect by which another host would get what a request carries."""
    request = response.request
    if not (response.has_redirect_location and request.extensions.get(_KEPT_TO_HOST)):
        return
    try:
        target = str(response.url.join(response.headers["Location"]))
    except httpx2.InvalidURL:
        return  # the client says so
    if not may_redirect(str(response.url), target, domain=""):
        raise BrokerUnavailableError(
            f"{_named(request)} redirects to another host, or to one without TLS, where what it "
            "carries does not go"
        )
