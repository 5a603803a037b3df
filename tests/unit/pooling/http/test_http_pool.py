"""The HTTP pool over a transport in memory, where waiting takes no time."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from brokers.exceptions import (
    BrokerAuthError,
    BrokerProtocolError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from pooling.connectors.circuit import CircuitState
from pooling.exceptions import CircuitOpenError, PoolClosedError, PoolExhaustedError
from pooling.http.policy import HttpOptions, RetryPolicy
from pooling.http.pool import HttpPool
from pooling.testing import MiddleOfRange, VirtualClock, VirtualTimeLoop

URL = "https://api.example.test/instruments?token=secret"


class Server:
    """Answers with what it is told, the last of it again and again, and keeps what it saw."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers = list(answers)
        self.seen: list[tuple[float, str]] = []
        self.gate: asyncio.Event | None = None
        self.most_at_once = self.at_once = 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append((asyncio.get_running_loop().time(), request.method))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.at_once -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(
            answer.status_code, headers=answer.headers, content=answer.content, request=request
        )


def run(
    server: Server, test: Callable[[HttpPool], Awaitable[Any]], options: HttpOptions | None = None
) -> Any:
    async def main() -> Any:
        async with HttpPool(
            clock=VirtualClock(),
            rng=MiddleOfRange(),
            options=options,
            transport=httpx2.MockTransport(server),
        ) as pool:
            return await test(pool)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


def test_an_address_that_cannot_be_read_is_told_without_its_secrets() -> None:
    url = "https://user:passw0rd@broker.test:port/app/token?pin=4711&totp=123456"

    async def test(pool: HttpPool) -> None:
        with pytest.raises(BrokerUnavailableError, match=r"broker\.test.*cannot be read") as told:
            await pool.request("POST", url)
        assert "/app/token" in str(told.value)
        for secret in ("4711", "123456", "passw0rd"):
            assert secret not in str(told.value)

    run(Server(httpx2.Response(200)), test)


def test_a_reply_has_status_headers_and_body() -> None:
    server = Server(httpx2.Response(404, headers={"x-reason": "gone"}, content=b"none"))
    reply = run(server, lambda pool: pool.request("get", URL))
    assert (reply.status, reply.body, reply.headers["X-Reason"]) == (404, b"none", "gone")
    assert "none" not in repr(reply)


def test_failures_are_repeated_with_growing_waits() -> None:
    server = Server(
        httpx2.ConnectError("refused"), httpx2.Response(503), httpx2.Response(200, content=b"ok")
    )

    async def test(pool: HttpPool) -> None:
        assert (await pool.request("GET", URL)).body == b"ok"
        (stats,) = pool.get_stats().endpoints
        assert (stats.requests, stats.attempts, stats.retries) == (1, 3, 2)
        assert (stats.failures, stats.replies, stats.rate_limited) == (2, 1, 0)
        assert stats.endpoint == "https://api.example.test:443"

    run(server, test)
    assert [at for at, _ in server.seen] == [0, 0.375, 1.125]


def test_a_429_is_repeated_when_the_broker_says() -> None:
    server = Server(httpx2.Response(429, headers={"Retry-After": "5"}), httpx2.Response(200))
    assert run(server, lambda pool: pool.request("GET", URL)).status == 200
    assert [at for at, _ in server.seen] == [0, 5.375]


def test_a_retry_after_as_a_date_counts_from_the_answers_own_date() -> None:
    headers = {
        "Retry-After": "Sat, 21 Nov 2026 10:00:09 GMT",
        "Date": "Sat, 21 Nov 2026 10:00:00 GMT",
    }
    server = Server(httpx2.Response(503, headers=headers), httpx2.Response(200))
    assert run(server, lambda pool: pool.request("GET", URL)).status == 200
    assert [at for at, _ in server.seen] == [0, 9.375]


def test_who_is_to_stay_away_for_long_is_told_so_at_once() -> None:
    server = Server(httpx2.Response(429, headers={"Retry-After": "120"}))
    with pytest.raises(BrokerRateLimitError) as limited:
        run(server, lambda pool: pool.request("GET", URL))
    assert limited.value.retry_after_seconds == 120
    assert len(server.seen) == 1


def test_an_order_is_never_sent_twice() -> None:
    server = Server(httpx2.ReadError("cut"))
    with pytest.raises(BrokerUnavailableError):
        run(server, lambda pool: pool.request("POST", URL, content=b"{}"))
    assert [method for _, method in server.seen] == ["POST"]


def test_errors_show_no_query() -> None:
    server = Server(httpx2.ConnectError("refused"))
    with pytest.raises(BrokerUnavailableError) as failed:
        run(server, lambda pool: pool.request("GET", URL))
    assert "api.example.test/instruments" in str(failed.value)
    assert "secret" not in str(failed.value)


def test_a_retry_is_logged_with_the_url_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pooling")
    server = Server(httpx2.ConnectError("refused"), httpx2.Response(200, content=b"ok"))
    run(server, lambda pool: pool.request("GET", URL))
    (line,) = (each for each in caplog.messages if "trying again" in each)
    assert line.count("api.example.test") == 1


@pytest.mark.parametrize("url", ["ftp://x/", "http://[", "nothing"])
def test_what_is_no_url_is_not_repeated(url: str) -> None:
    server = Server(httpx2.UnsupportedProtocol("no"))
    with pytest.raises(BrokerUnavailableError):
        run(server, lambda pool: pool.request("GET", url))
    assert len(server.seen) <= 1


def test_an_endpoint_that_is_down_is_left_alone() -> None:
    """Five failures in a row open its circuit; another endpoint's is its own."""
    server = Server(httpx2.ConnectError("refused"))

    async def test(pool: HttpPool) -> None:
        for _ in range(5):
            with pytest.raises(BrokerUnavailableError):
                await pool.request("POST", URL)
        with pytest.raises(CircuitOpenError):
            await pool.request("POST", URL)
        assert len(server.seen) == 5
        (stats,) = pool.get_stats().endpoints
        assert stats.circuit.state is CircuitState.OPEN
        server.answers = [httpx2.Response(204)]
        assert (await pool.request("POST", "https://other.example.test/")).status == 204
        await asyncio.sleep(stats.circuit.retry_in_seconds or 0)
        assert (await pool.request("POST", URL)).status == 204
        assert pool.get_stats().endpoints[0].circuit.state is CircuitState.CLOSED

    run(server, test)


def test_a_429_does_not_open_the_circuit() -> None:
    server = Server(httpx2.Response(429))

    async def test(pool: HttpPool) -> None:
        for _ in range(7):
            with pytest.raises(BrokerRateLimitError):
                await pool.request("POST", URL)
        assert pool.get_stats().endpoints[0].rate_limited == 7

    run(server, test)
    assert len(server.seen) == 7


def test_no_host_gets_more_requests_at_once_than_it_may() -> None:
    server = Server(httpx2.Response(200))

    async def test(pool: HttpPool) -> None:
        server.gate = asyncio.Event()
        requests = [asyncio.create_task(pool.request("GET", URL)) for _ in range(9)]
        await asyncio.sleep(1)
        (stats,) = pool.get_stats().endpoints
        assert (stats.in_flight, stats.waiting) == (2, 7)
        server.gate.set()
        assert {reply.status for reply in await asyncio.gather(*requests)} == {200}

    run(server, test, HttpOptions(max_connections=4, max_connections_per_host=2))
    assert server.most_at_once == 2


def test_who_gets_no_place_in_time_is_told_so() -> None:
    server = Server(httpx2.Response(200))

    async def test(pool: HttpPool) -> None:
        server.gate = asyncio.Event()
        first = asyncio.create_task(pool.request("GET", URL))
        await asyncio.sleep(0)
        for url in (URL, "https://other.example.test/"):
            with pytest.raises(PoolExhaustedError):
                await pool.request("GET", url)
        server.gate.set()
        await first
        assert (await pool.request("GET", URL)).status == 200, "all places came back"

    run(server, test, HttpOptions(max_connections=1, max_connections_per_host=1))


def test_a_cancelled_request_gives_its_place_back() -> None:
    server = Server(httpx2.Response(200))

    async def test(pool: HttpPool) -> None:
        server.gate = asyncio.Event()
        for delay in (0.0, 1.0):
            held = asyncio.create_task(pool.request("GET", URL))
            waiting = asyncio.create_task(pool.request("GET", URL))
            await asyncio.sleep(delay)
            for task in (waiting, held):
                task.cancel()
            await asyncio.gather(held, waiting, return_exceptions=True)
        server.gate = None
        assert (await pool.request("GET", URL)).status == 200
        (stats,) = pool.get_stats().endpoints
        assert (stats.in_flight, stats.waiting, stats.failures) == (0, 0, 0)

    run(server, test, HttpOptions(max_connections=1, max_connections_per_host=1))


def test_a_request_takes_no_longer_than_it_may_with_all_its_retries() -> None:
    server = Server(httpx2.ConnectError("refused"))
    options = HttpOptions(total_seconds=2, retry=RetryPolicy(retries=50))
    with pytest.raises(BrokerUnavailableError, match="within 2 s"):
        run(server, lambda pool: pool.request("GET", URL), options)
    assert server.seen[-1][0] < 2


def test_an_answer_that_is_too_large_is_refused() -> None:
    server = Server(httpx2.Response(200, content=b"x" * 1001))
    with pytest.raises(BrokerProtocolError, match=r"1,000 bytes"):
        run(server, lambda pool: pool.request("GET", URL), HttpOptions(max_body_bytes=1000))


def test_a_download_comes_to_a_file_and_tells_how_far_it_is() -> None:
    server = Server(httpx2.ReadError("cut"), httpx2.Response(200, content=b"master"))
    told: list[tuple[int, int | None]] = []
    file = io.BytesIO()
    run(
        server,
        lambda pool: pool.download(
            URL,
            file,
            max_bytes=100,
            progress=lambda stage, done, total, unit: told.append((done, total)),
        ),
    )
    assert file.getvalue() == b"master"
    assert told[-1][1] == 6


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, BrokerAuthError), (403, BrokerAuthError), (404, BrokerUnavailableError)],
)
def test_a_download_that_is_refused_is_typed(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=str(status)):
        run(
            Server(httpx2.Response(status)),
            lambda pool: pool.download(URL, io.BytesIO(), max_bytes=100),
        )


def test_closing_lets_requests_end_and_refuses_new_ones() -> None:
    server = Server(httpx2.Response(200))

    async def test(pool: HttpPool) -> None:
        server.gate = asyncio.Event()
        request = asyncio.create_task(pool.request("GET", URL))
        await asyncio.sleep(0)
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(1)
        assert not closing.done()
        with pytest.raises(PoolClosedError):
            await pool.request("GET", URL)
        server.gate.set()
        assert (await request).status == 200
        await closing
        await pool.close()

    run(server, test)


def test_closing_ends_the_wait_for_a_retry() -> None:
    server = Server(httpx2.Response(503, headers={"Retry-After": "20"}))

    async def test(pool: HttpPool) -> None:
        request = asyncio.create_task(pool.request("GET", URL))
        await asyncio.sleep(1)
        await pool.close()
        with pytest.raises(PoolClosedError):
            await request
        assert asyncio.get_running_loop().time() < 5

    run(server, test)


def test_a_pool_that_is_not_open_says_so() -> None:
    async def main() -> None:
        pool = HttpPool(clock=VirtualClock(), rng=MiddleOfRange())
        assert repr(pool) == "<HttpPool new, 0 requests, 0 endpoints>"
        with pytest.raises(PoolClosedError):
            await pool.request("GET", URL)
        await pool.close()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


@pytest.mark.parametrize(
    ("location", "headers", "is_followed"),
    [
        ("https://api.example.test/elsewhere", {"X-Token": "t"}, True),
        ("/elsewhere", {"X-Token": "t"}, True),
        ("https://elsewhere.test/", {"X-Token": "t"}, False),
        ("http://api.example.test/", {"X-Token": "t"}, False),
        ("https://elsewhere.test/", {}, True),
    ],
)
def test_what_a_request_carries_stays_with_its_host(
    location: str, headers: dict[str, str], is_followed: bool
) -> None:
    server = Server(httpx2.Response(302, headers={"Location": location}), httpx2.Response(200))

    async def test(pool: HttpPool) -> None:
        if is_followed:
            assert (await pool.request("GET", URL, headers=headers)).status == 200
        else:
            with pytest.raises(BrokerUnavailableError, match="another host") as caught:
                await pool.request("GET", URL, headers=headers)
            assert "secret" not in str(caught.value)

    run(server, test)
    assert len(server.seen) == 1 + is_followed
