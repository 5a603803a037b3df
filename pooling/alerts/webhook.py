"""Alerts as signed HTTP requests, to where the address check allows and nowhere else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence

import httpx2

from brokers.logs.redaction import REDACTOR
from pooling.alerts.addresses import WebhookUrl
from pooling.alerts.contracts import Target
from pooling.alerts.message import SIGNATURE_HEADER, Alert, signature, webhook_body
from pooling.alerts.threads import in_daemon_thread
from pooling.clock import Clock
from pooling.exceptions import AlertError, AlertRefusedError

__all__ = ["Resolve", "WebhookSender", "resolve"]

TIMEOUT_SECONDS = 10.0
# Of the other answers a repetition would be the same.
WORTH_REPEATING = frozenset({408, 425, 429})

# Returns the addresses of (host, port). Raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host. Raises OSError when it is not known."""
    found = await in_daemon_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class WebhookSender:
    """Posts alerts. Any number of calls may run at once; a cancelled one may have arrived.

    A name is looked up once, its addresses are checked, and the connection goes to the checked one:
    a second look-up could lead elsewhere. Redirects are answers like any other and not followed,
    proxies of the environment are not used, and of the answer only the status is read.

    Args:
        allowed_hosts: ``host`` or ``host:port`` that may be inside, and reached without TLS.
        clock: stamps signatures.
        resolver: looks names up.
        timeout_seconds: for one request, look-up and all.
        transport: replaces the network, for tests.
        site: where people see the pages, "" where nobody knows.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Collection[str],
        clock: Clock,
        resolver: Resolve = resolve,
        timeout_seconds: float = TIMEOUT_SECONDS,
        transport: httpx2.AsyncBaseTransport | None = None,
        site: str = "",
    ) -> None:
        if timeout_seconds <= 0:
            raise ValueError("timeout_seconds must be positive")
        self._allowed_hosts = frozenset(allowed_hosts)
        self._clock = clock
        self._resolve = resolver
        self._timeout = timeout_seconds
        self._transport = transport
        self._site = site

    async def __call__(self, target: Target, alert: Alert) -> None:
        """Send one alert.

        Raises:
            AlertRefusedError: the URL is not allowed, or the receiver refuses for good.
            AlertError: it could not be delivered now.
        """
        url = WebhookUrl.parse(target.address, self._allowed_hosts)
        # The path is a secret at many services, and HTTP libraries log it.
        REDACTOR.learn([target.address, url.target])
        try:
            async with asyncio.timeout(self._timeout):
                address = url.choose(await self._resolve(url.host, url.port))
                status = await self._post(url, address, target, alert)
        except (TimeoutError, httpx2.TimeoutException):  # whichever of the two bounds is first
            raise AlertError(f"no answer within {self._timeout:g} s") from None
        except (OSError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            # Its text may quote the URL.
            raise AlertError(f"not reachable ({type(error).__name__})") from None
        if 200 <= status < 300:
            return
        if status in WORTH_REPEATING or status >= 500:
            raise AlertError(f"answered HTTP {status}")
        raise AlertRefusedError(f"answered HTTP {status}")

    async def _post(self, url: WebhookUrl, address: str, target: Target, alert: Alert) -> int:
        body = webhook_body(alert, self._site)
        headers = {
            "Host": url.host_header,
            "Content-Type": "application/json",
            "User-Agent": "TickPool",
        }
        if target.secret:
            sent = self._clock.time_ms() // 1000
            headers[SIGNATURE_HEADER] = signature(body, target.secret, sent)
        client = httpx2.AsyncClient(
            transport=self._transport,
            timeout=self._timeout,
            trust_env=False,
            follow_redirects=False,
        )
        async with (
            client,
            client.stream(
                "POST",
                url.at(address),
                content=body,
                headers=headers,
                # The certificate is that of the name, not of the address.
                extensions={"sni_hostname": url.host},
            ) as answer,
        ):
            return answer.status_code
