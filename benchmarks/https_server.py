"""The broker of the HTTP scenario: answers over TLS on loopback, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys

from pooling.testing.https import LoopbackHttps


async def _main(protocol: str) -> None:
    async with LoopbackHttps(body=b"x" * 2048, protocols=(protocol,)) as server:
        print(json.dumps({"url": server.url, "certificate": server.certificate}), flush=True)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            counts = {"requests": server.requests, "connections": server.connections}
            print(json.dumps(counts), flush=True)
            server.requests = server.connections = 0


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
