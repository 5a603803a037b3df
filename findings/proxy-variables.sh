#!/usr/bin/env bash
# One environment, two clients, two ways to the same broker.
#
# Guess: with ALL_PROXY set, an HTTP client and a WebSocket client that both read proxies from the
# environment by default both go through that proxy.
# Seen: httpx2 2.16.2 does; websockets 17.4 does not know ALL_PROXY and connects directly. A broker
# that admits one address then sees a program's HTTP come from the proxy and its socket from
# elsewhere. Nothing is logged by either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httpx2==2.16.2 websockets==17.4
env -u http_proxy -u https_proxy -u no_proxy -u HTTP_PROXY -u HTTPS_PROXY -u NO_PROXY -u all_proxy \
    "$folder/venv/bin/python" - <<'PY'
import asyncio
import os
from importlib.metadata import version

import httpx2
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


async def main() -> None:
    asked: list[str] = []

    async def proxy(reader, writer):
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode()
        asked.append(line)
        writer.write(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def broker(socket):
        await socket.wait_closed()

    gate = await asyncio.start_server(proxy, "127.0.0.1", 0)
    os.environ["ALL_PROXY"] = f"http://127.0.0.1:{gate.sockets[0].getsockname()[1]}"
    async with gate, serve(broker, "127.0.0.1", 0) as feed:
        port = feed.sockets[0].getsockname()[1]
        async with httpx2.AsyncClient() as client:
            status = (await client.get(f"http://127.0.0.1:{port}/")).status_code
        http = len(asked)
        async with connect(f"ws://127.0.0.1:{port}/"):
            pass
        socket = len(asked) - http
    print(f"httpx2 {version('httpx2')}: HTTP {status}, {http} request at the proxy: {asked}")
    print(f"websockets {version('websockets')}: connected, {socket} requests at the proxy")
    assert (status, http, socket) == (502, 1, 0), "this has changed"


asyncio.run(main())
PY
