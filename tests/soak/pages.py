"""People with the market watch open: pages of headless Chromium, looked at every second.

Standard input: one line of JSON: ``url``, ``folder`` (for a last picture), ``pages`` (name, user,
password). Ends when it does. A row that the page shows as live counts as a tick with its price.
"""

import asyncio
import json
import os
import sys

from playwright.async_api import CDPSession, Error, Page, async_playwright

from tests.fix_browser import ARGUMENTS, CHROMIUM
from tests.soak.tally import Tally, say

_LOGIN_MS = 90_000
_LOOK_SECONDS = 1.0
_LIVE_ROWS = """() => [...document.querySelectorAll('#rows tr[data-state="live"]')].map(
    row => [row.dataset.key, row.querySelector('[data-field="last"]')?.textContent ?? ''])"""

_SAID = """() => [
    [...document.querySelectorAll('#rows tr')].map(row => row.dataset.state).join(' '),
    ...['#pill', '#banner', '#notices'].map(
        each => document.querySelector(each)?.innerText.replace(/\\s+/g, ' ') ?? ''),
    ].join(' | ')"""


class WatchPage:
    """One tab: its socket's beginnings and ends, as the browser's tools tell them, and its rows."""

    def __init__(self, name, page: Page, tools: CDPSession):
        self.name, self.page, self.tools = name, page, tools
        self.tally = Tally(name)
        self.sockets: dict[str, str] = {}  # the gateway of each open socket, by the browser's id
        self.codes: dict[str, str] = {}  # how the server closed a socket, from its close frame

    async def open(self):
        on = self.tools.on
        on("Network.webSocketHandshakeResponseReceived", self._opened)
        on("Network.webSocketFrameReceived", self._framed)
        on("Network.webSocketClosed", self._closed)
        await self.tools.send("Network.enable")

    def _opened(self, event):
        response = event["response"]
        if response["status"] != 101:
            say("refused", client=self.name, why=f"HTTP {response['status']}")
            return
        headers = {name.lower(): value for name, value in response["headers"].items()}
        gateway = self.sockets[event["requestId"]] = headers.get("x-gateway", "")
        say("opened", client=self.name, gateway=gateway)

    def _framed(self, event):
        if event["response"]["opcode"] == 8:
            self.codes[event["requestId"]] = "closed by a frame"

    def _closed(self, event):
        gateway = self.sockets.pop(event["requestId"], None)
        if gateway is not None:
            reason = self.codes.pop(event["requestId"], "")
            say("lost", client=self.name, gateway=gateway, code=None, reason=reason)

    async def look(self):
        """Take in what the page shows as live now."""
        for key, text in await self.page.evaluate(_LIVE_ROWS):
            exchange, _, symbol = key.partition(":")
            try:
                price = float(text.replace(",", ""))
            except ValueError:
                say("page", client=self.name, text=f"{key} is live and shows {text!r}")
                continue
            self.tally.tick(exchange, symbol, price)


async def _main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    given = json.loads(await lines.readline())
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=ARGUMENTS
        )
        pages = []
        for each in given["pages"]:
            context = await chromium.new_context(viewport={"width": 1280, "height": 800})
            page = await context.new_page()
            tab = WatchPage(each["name"], page, await context.new_cdp_session(page))
            await tab.open()
            await page.goto(given["url"] + "/", timeout=_LOGIN_MS)
            await page.get_by_label("User name").fill(each["user"])
            await page.get_by_label("Password").fill(each["password"])
            await page.get_by_role("button", name="Log in").click(timeout=_LOGIN_MS)
            await page.locator("#rows tr").first.wait_for(timeout=_LOGIN_MS)
            pages.append(tab)
        watching = asyncio.create_task(_watch(pages), name="watch")
        await lines.read()
        watching.cancel()
        for tab in pages:
            try:
                await tab.page.screenshot(path=f"{given['folder']}/{tab.name}.png", timeout=15_000)
                words = await tab.page.evaluate(_SAID)
                say("page", client=tab.name, text=words)
            except Error as error:
                say("page", client=tab.name, text=str(error)[:300])
        # Not closed one by one: what ends now is the run's doing, and shall not be told.
        os._exit(0)


async def _watch(pages):
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        for tab in pages:
            try:
                await tab.look()
            except Error as error:
                say("page", client=tab.name, text=str(error)[:300])
            tab.tally.flush()


if __name__ == "__main__":
    asyncio.run(_main())
