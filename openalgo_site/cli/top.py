"""``pool top``: a live view in the terminal; q ends it."""

from __future__ import annotations

import curses
import shutil
import signal
import time
from typing import Any

from django.core.management.base import CommandParser
from django.db import Error, close_old_connections
from django.utils import timezone

from openalgo_site.cli.base import CliError, Exit, Options, Output, Subcommand
from openalgo_site.cli.command_line import database_sentence
from openalgo_site.cli.reading import gateway_dict
from openalgo_site.cli.top_screen import Emphasis, Key, Snapshot, clamp_scroll, frame
from pooling.operations.describe import accounts_with_status, view_of
from streaming.models import GatewayStatus

__all__ = ["TOP", "read_snapshot"]

HEAD_AND_FOOT = 5
QUIT_KEYS = frozenset({ord("q"), ord("Q"), 27})
KEYS = {
    curses.KEY_UP: Key.UP,
    ord("k"): Key.UP,
    curses.KEY_DOWN: Key.DOWN,
    ord("j"): Key.DOWN,
    curses.KEY_PPAGE: Key.PAGE_UP,
    curses.KEY_NPAGE: Key.PAGE_DOWN,
    ord(" "): Key.PAGE_DOWN,
}


def read_snapshot() -> Snapshot:
    """Return what is true now; a database that does not answer is a problem of the snapshot."""
    now = timezone.now()
    try:
        pools = [view_of(account, now) for account in accounts_with_status()]
        gateways = list(GatewayStatus.objects.alive(now))
    except Error as error:
        return Snapshot(at=timezone.localtime(now), pools=(), problem=database_sentence(error))
    finally:
        close_old_connections()  # the server may be started again until the next look
    return Snapshot(
        at=timezone.localtime(now),
        pools=pools,
        gateways=len(gateways),
        gateway_clients=sum(each.clients for each in gateways),
        deliveries_per_second=sum(each.deliveries_per_second for each in gateways),
    )


def _arguments(parser: CommandParser) -> None:
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS")


def _top(options: Options, out: Output) -> None:
    if not 0.1 <= options["interval"] <= 3600:
        raise CliError("--interval must be 0.1 to 3600 seconds.", Exit.USAGE)
    if out.as_json:
        snapshot = read_snapshot()
        gateways = GatewayStatus.objects.alive(snapshot.at)
        out.show(
            {
                "at": snapshot.at,
                "pools": snapshot.pools,
                "gateways": [gateway_dict(each, snapshot.at) for each in gateways],
                "problem": snapshot.problem,
            },
            "",
        )
        return
    if options["once"]:
        size = shutil.get_terminal_size((80, 24))
        snapshot = read_snapshot()
        height = size.lines if out.is_terminal else len(snapshot.pools) + HEAD_AND_FOOT
        for line in frame(snapshot, width=size.columns, height=height)[:-1]:
            out.line(line.text)
        return
    if not out.is_terminal or out.ask is None:
        raise CliError("There is no terminal here: use --once, or --json.", Exit.USAGE)
    # A shell that starts something in the background has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        curses.wrapper(_run, options["interval"])
    except curses.error as error:
        raise CliError(f"This terminal cannot show it ({error}): use --once.") from None
    except KeyboardInterrupt:
        pass  # Ctrl-C ends it as q does


def _run(window: Any, interval: float) -> None:
    styles = _styles()
    scroll, snapshot, next_read = 0, read_snapshot(), time.monotonic() + interval
    while True:
        height, width = window.getmaxyx()
        room = max(0, height - HEAD_AND_FOOT)
        scroll = clamp_scroll(scroll, len(snapshot.pools), room)
        _draw(window, snapshot, width, height, scroll, styles)
        window.timeout(max(0, round((next_read - time.monotonic()) * 1000)))
        key = window.getch()
        if key in QUIT_KEYS:
            return
        scroll += _step(KEYS.get(key), room)
        if time.monotonic() >= next_read:
            snapshot, next_read = read_snapshot(), time.monotonic() + interval


def _step(key: Key | None, room: int) -> int:
    return {Key.UP: -1, Key.DOWN: 1, Key.PAGE_UP: -room, Key.PAGE_DOWN: room}.get(
        key or Key.QUIT, 0
    )


def _draw(
    window: Any, snapshot: Snapshot, width: int, height: int, scroll: int, styles: dict[Any, int]
) -> None:
    window.erase()
    # One column less: writing the last cell of a terminal scrolls it.
    for row, line in enumerate(frame(snapshot, width=width - 1, height=height, scroll=scroll)):
        window.addnstr(row, 0, line.text, max(0, width - 1), styles[line.emphasis])
    window.refresh()


def _styles() -> dict[Emphasis, int]:
    curses.curs_set(0)
    styles = {
        Emphasis.PLAIN: curses.A_NORMAL,
        Emphasis.HEADING: curses.A_BOLD,
        Emphasis.PROBLEM: curses.A_BOLD,
        Emphasis.QUIET: curses.A_DIM,
    }
    if curses.has_colors():
        curses.use_default_colors()
        curses.init_pair(1, curses.COLOR_YELLOW, -1)
        styles[Emphasis.PROBLEM] |= curses.color_pair(1)
    return styles


TOP = Subcommand(
    name="top", help="a live view in the terminal; q quits", run=_top, arguments=_arguments
)
