"""Who is behind which proxy, as the application sees it."""

from __future__ import annotations

from typing import Any

import pytest

from streaming.addresses import parse_networks
from streaming.gateway.proxies import behind_proxies


class Site:
    """An application that notes what it sees, behind proxies."""

    def __init__(self, trusted: str) -> None:
        self.seen: list[tuple[str, str]] = []
        self.untrusted: list[str] = []
        self.application = behind_proxies(
            self._serve, trusted=parse_networks(trusted), on_untrusted=self.untrusted.append
        )

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append((scope["client"][0], scope["scheme"]))

    async def ask(self, peer: str, kind: str = "http", **headers: str) -> tuple[str, str]:
        scope = {
            "type": kind,
            "scheme": "http" if kind == "http" else "ws",
            "client": (peer, 4711),
            "headers": [
                (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
            ],
        }
        await self.application(scope, None, None)  # type: ignore[arg-type]
        return self.seen[-1]


async def test_a_trusted_proxy_names_the_client() -> None:
    site = Site("172.17.0.0/16")
    asked = await site.ask("172.17.0.1", x_forwarded_for="192.0.2.7", x_forwarded_proto="https")
    assert asked == ("192.0.2.7", "https")
    # What the client itself sent is to the left of what the proxy added.
    assert (await site.ask("172.17.0.1", x_forwarded_for="1.1.1.1, 192.0.2.7"))[0] == "192.0.2.7"
    socket = await site.ask("172.17.0.1", "websocket", x_forwarded_for="192.0.2.7")
    assert socket == ("192.0.2.7", "ws")
    assert site.untrusted == []


@pytest.mark.parametrize("peer", ["172.18.0.1", "127.0.0.1", "8.8.8.8"])
@pytest.mark.parametrize("trusted", ["", "172.17.0.0/16"])
async def test_nobody_else_is_believed(trusted: str, peer: str) -> None:
    site = Site(trusted)
    asked = await site.ask(peer, x_forwarded_for="192.0.2.7", x_forwarded_proto="https")
    assert asked == (peer, "http")
    # A stranger outside may write what it likes; what comes from inside is a proxy to be named.
    assert site.untrusted == ([] if peer == "8.8.8.8" else [peer])


async def test_a_client_of_the_inside_is_no_proxy() -> None:
    site = Site("172.17.0.1")
    assert (await site.ask("172.17.0.1", x_forwarded_for="10.1.2.3"))[0] == "10.1.2.3"
    assert (await site.ask("10.1.2.3"))[0] == "10.1.2.3"
    assert site.untrusted == []
