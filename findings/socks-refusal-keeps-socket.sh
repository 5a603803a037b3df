#!/usr/bin/env bash
# A SOCKS proxy that refuses costs a descriptor until the garbage collector comes.
#
# Guess: when a SOCKS5 proxy answers "not allowed by ruleset", the client raises and closes its
# connection to the proxy; at the latest when the client itself is closed.
# Seen: httpx2 2.16.2 (httpcore2 2.16.2, socksio 1.0.0) raises ProxyError and leaves the connection
# open; closing the client does not close it either. It ends when the objects are collected, as
# Python's ResourceWarning says. An HTTP proxy that refuses is closed at once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "httpx2[socks]==2.16.2" socksio==1.0.0
"$folder/venv/bin/python" - <<'PY'
import asyncio
import gc
import warnings
from importlib.metadata import version

import httpx2

warnings.simplefilter("ignore", ResourceWarning)


async def seen(scheme: str) -> tuple[str, bool, bool]:
    """Return the error, and whether the proxy saw an end before and after a collection."""
    ended = asyncio.Event()

    async def proxy(reader, writer):
        if scheme == "http":
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        else:
            methods = (await reader.readexactly(2))[1]
            await reader.readexactly(methods)
            writer.write(b"\x05\x00")
            name = (await reader.readexactly(5))[4]
            await reader.readexactly(name + 2)
            writer.write(b"\x05\x02\x00\x01" + bytes(6))
        await writer.drain()
        await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    gc.disable()
    async with server:
        url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        error = ""
        async with httpx2.AsyncClient(proxy=url, trust_env=False) as client:
            try:
                await client.get("https://broker.example/")
            except httpx2.ProxyError as raised:
                error = type(raised).__name__
        await asyncio.sleep(1.0)
        before = ended.is_set()
        gc.collect()
        await asyncio.sleep(0.5)
        after = ended.is_set()
    gc.enable()
    return error, before, after


async def main() -> None:
    found = {scheme: await seen(scheme) for scheme in ("http", "socks5h")}
    for name in ("httpx2", "httpcore2", "socksio"):
        print(f"{name} {version(name)}")
    for scheme, (error, before, after) in found.items():
        print(f"{scheme}: {error}; closed with the client: {before}, after a collection: {after}")
    assert found["http"] == ("ProxyError", True, True), "this has changed"
    assert found["socks5h"] == ("ProxyError", False, True), "this has changed"


asyncio.run(main())
PY
