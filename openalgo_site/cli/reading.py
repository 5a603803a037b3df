"""``pool list``, ``show``, ``stats`` and ``peaks``: what people look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.core.management.base import CommandParser
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from brokers.pool_service import state_word
from brokers.words import counted
from openalgo_site.cli.base import (
    CliError,
    Exit,
    Options,
    Output,
    Subcommand,
    moment,
    read_time,
)
from pooling.models import BrokerAccount, PoolRecord, PoolStatus
from pooling.models.status import PeakSeen
from pooling.operations.describe import (
    PoolView,
    accounts_with_status,
    command_dict,
    connections,
    connections_text,
    event_dict,
    limits_of,
    totals,
    view_of,
)
from pooling.operations.history import MEASURES, history, history_csv, peaks
from pooling.operations.naming import find_account
from pooling.operations.pool_state import PoolState, event_word, state_named
from pooling.operations.settings import setting_dicts, setting_text
from pooling.tables import age, bar, pairs, table
from streaming.models import GatewayStatus

__all__ = ["READING", "gateway_dict", "settings_table"]

RECENT = 5


def _list_arguments(parser: CommandParser) -> None:
    parser.add_argument("--user", help="only this user's")
    parser.add_argument("--broker", help="only those at this broker")
    parser.add_argument("--state", help="only those in this state, for example live or stale")


def _list(options: Options, out: Output) -> None:
    accounts = accounts_with_status()
    if options["user"]:
        accounts = accounts.filter(user__username=options["user"])
    if options["broker"]:
        accounts = accounts.filter(broker=options["broker"])
    now = timezone.now()
    views = [view_of(account, now) for account in accounts]
    if options["state"]:
        wanted = _state(options["state"])
        views = [view for view in views if view.state is wanted]
    out.show({"pools": views}, _table(views) if views else "No such pool.")


def _state(text: str) -> PoolState:
    state = state_named(text)
    if state is None:
        raise CliError(f"--state is one of {', '.join(PoolState)}; not {text!r}.", Exit.USAGE)
    return state


def _table(views: Sequence[PoolView]) -> str:
    header = ("ID", "POOL", "STATE", "CONNS", "USED", "", "WAIT", "CLIENTS", "TICKS/S", "LAST TICK",
              "REASON")  # fmt: skip
    rows = [
        (
            str(view.id),
            view.name,
            view.state,
            f"{view.connections}/{view.max_connections}",
            f"{view.used:,}/{view.capacity:,}",
            bar(view.used, view.capacity),
            f"{view.waiting:,}",
            f"{view.clients:,}",
            f"{view.ticks_per_second:,.0f}",
            age(view.last_tick_age),
            view.reason,
        )
        for view in views
    ]
    return table(header, rows, right=(0, 3, 4, 6, 7, 8, 9))


def _name_argument(parser: CommandParser) -> None:
    parser.add_argument("pool", help="id, or user/broker/label as far as it is unambiguous")


def _show(options: Options, out: Output) -> None:
    account, now = find_account(options["pool"]), timezone.now()
    view = view_of(account, now)
    try:
        limits, problem = limits_of(account), ""
    except BrokerConfigError as error:
        limits, problem = {}, str(error)
    settings = setting_dicts(account)
    rows = connections(account, now)
    events = [event_dict(event) for event in account.events.all()[:RECENT]]
    commands = [command_dict(command) for command in account.commands.all()[:RECENT]]
    value = {
        **msgspec.to_builtins(view),
        "limits": limits,
        "settings": settings,
        "connection_list": rows,
        "events": events,
        "requests": commands,
    }
    parts = [pairs(_facts(view)), problem or _limits_table(limits)]
    if settings:
        parts.append(settings_table(settings))
    if rows:
        parts.append(_connections_table(rows, now))
    if events:
        parts.append(
            table(("EVENT AT", "KIND", "MESSAGE"),
                  [(moment(e["at"]), event_word(e["kind"]), e["message"]) for e in events])
        )  # fmt: skip
    if commands:
        parts.append(
            table(
                ("REQUESTED", "VERB", "STATE", "RESULT"),
                [(moment(c["requested"]), c["verb"], c["state"], c["result"]) for c in commands],
            )
        )
    out.show(value, "\n\n".join(parts))


def _facts(view: PoolView) -> list[tuple[str, str]]:
    state = f"{view.state}: {view.reason}" if view.reason else view.state.value
    return [
        ("pool", f"{view.name} (id {view.id})"),
        ("state", f"{state} (since {moment(view.since)})"),
        ("worker", f"{view.owner or 'none'}, last heard {age(view.heartbeat_age)} ago"),
        ("connections", connections_text(view)),
        (
            "used",
            f"{view.used:,} of {view.capacity:,} {bar(view.used, view.capacity, 20)}"
            f", {view.waiting:,} waiting for room",
        ),
        ("clients", f"{view.clients:,}"),
        ("ticks/s", f"{view.ticks_per_second:,.0f}, last tick {age(view.last_tick_age)} ago"),
        ("credential expires", moment(view.credential_expiry)),
        ("limits revision", f"{view.revision}, the worker uses {view.applied_revision or 'none'}"),
    ]


def _limits_table(limits: dict[str, dict[str, Any]]) -> str:
    def number(value: float | None, none: str) -> str:
        return none if value is None else f"{value:,g}" if value < 1e6 else f"{value:,.0f}"

    rows = [
        (
            name.replace("_", " "),
            number(each["set"], "default"),
            number(each["in_force"], "-"),
            number(each["broker"], "-"),
        )
        for name, each in limits.items()
    ]
    return table(("LIMIT", "SET", "IN FORCE", "BROKER ALLOWS"), rows, right=(1, 2, 3))


def settings_table(settings: Sequence[Mapping[str, Any]]) -> str:
    """Return settings of a broker as ``pool show`` and ``pool set-setting`` print them."""
    return table(
        ("SETTING", "VALUE", "", "ALLOWED"),
        [
            (
                each["name"],
                setting_text(each["value"]),
                "default" if each["is_default"] else f"default {setting_text(each['default'])}",
                each["allowed"],
            )
            for each in settings
        ],
    )


def _connections_table(rows: Sequence[Any], now: datetime) -> str:
    now_ms = now.timestamp() * 1000

    def since(value: float | None) -> float | None:
        return None if value is None else value / 1000

    return table(
        ("SLOT", "STATE", "FOR", "SYMBOLS", "FRAMES", "RECONNECTS", "LAST TICK", "LAST CLOSE"),
        [
            (
                str(row["slot"]),
                state_word(row["state"]),
                age((now_ms - row["since_ms"]) / 1000),
                f"{row['used']:,}/{row['capacity']:,}",
                f"{row['frames_received']:,}",
                f"{row['reconnects']:,}",
                age(since(row["last_tick_age_ms"])),
                _last_close(row, now_ms),
            )
            for row in rows
        ],
        right=(0, 2, 3, 4, 5, 6),
    )


def _last_close(row: Any, now_ms: float) -> str:
    """Return why a socket was lost last, and how long ago that is: it may be long over."""
    text, at_ms = str(row.get("last_close") or ""), row.get("last_close_ms")
    return f"{text} ({age((now_ms - at_ms) / 1000)} ago)" if text and at_ms is not None else text


def _stats(options: Options, out: Output) -> None:
    now = timezone.now()
    if options["pool"]:
        account = find_account(options["pool"])
        status = getattr(account, "status", None)
        stats = status.figures if status is not None and status.is_alive(now) else {}
        counters = {name: value for name, value in sorted(stats.items())
                    if isinstance(value, int | float) and not name.endswith("_ms")}  # fmt: skip
        text = pairs([(name.replace("_", " "), f"{value:,g}" if isinstance(value, float)
                       else f"{value:,}") for name, value in counters.items()])  # fmt: skip
        out.show({"pool": account.pk, "stats": stats}, text or "No worker serves this pool now.")
        return
    views = [view_of(account, now) for account in accounts_with_status()]
    gateways = list(GatewayStatus.objects.alive(now))
    states = {state: sum(view.state == state for view in views)
              for state in sorted({view.state for view in views})}  # fmt: skip
    sums = totals(views)
    lines = [("pools", ", ".join(f"{n} {state}" for state, n in states.items()) or "none")]
    lines += [(name.replace("_", " "), f"{value:,.0f}") for name, value in sums.items()]
    parts = [pairs(lines)]
    if gateways:
        parts.append(_gateways_table(gateways, now))
    out.show(
        {
            "states": states,
            "totals": sums,
            "gateways": [gateway_dict(each, now) for each in gateways],
        },
        "\n\n".join(parts),
    )


def gateway_dict(gateway: GatewayStatus, now: datetime) -> dict[str, Any]:
    """Return a gateway process as it is printed."""
    return {
        "gateway": str(gateway),
        "clients": gateway.clients,
        "deliveries": gateway.deliveries,
        "deliveries_per_second": gateway.deliveries_per_second,
        "conflated": gateway.conflated,
        "dropped": gateway.dropped,
        "slow_closes": gateway.slow_closes,
        "started": gateway.started,
        "heartbeat_age": (now - gateway.heartbeat).total_seconds(),
    }


def _gateways_table(gateways: Sequence[GatewayStatus], now: datetime) -> str:
    return table(
        ("GATEWAY", "UP", "CLIENTS", "DELIVERIES/S", "CONFLATED", "DROPPED", "SLOW CLOSES"),
        [
            (
                str(each),
                age((now - each.started).total_seconds()),
                f"{each.clients:,}",
                f"{each.deliveries_per_second:,.0f}",
                f"{each.conflated:,}",
                f"{each.dropped:,}",
                f"{each.slow_closes:,}",
            )
            for each in gateways
        ],
        right=(1, 2, 3, 4, 5, 6),
    )


def _optional_name_argument(parser: CommandParser) -> None:
    parser.add_argument("pool", nargs="?", help="id or user/broker/label; all pools together")


def _peaks_arguments(parser: CommandParser) -> None:
    _name_argument(parser)
    parser.add_argument("--from", dest="start", help="date or time in TIME_ZONE (today 00:00)")
    parser.add_argument("--to", dest="end", help="date (inclusive) or time in TIME_ZONE (now)")
    parser.add_argument("--csv", action="store_true", help="every interval of the range as CSV")
    parser.add_argument("--by-day", action="store_true", help="with --csv: one line a day")


def _peaks(options: Options, out: Output) -> None:
    account = find_account(options["pool"])
    now = timezone.now()
    start = read_time(options["start"], "--from", is_end=False) or timezone.localtime(now).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    end = read_time(options["end"], "--to", is_end=True) or now + timedelta(seconds=1)
    if end <= start:
        raise CliError("--to must be later than --from.", Exit.USAGE)
    if options["csv"]:
        name = view_of(account, now).name
        rows = history(account, start, end, by_day=options["by_day"])
        for line in history_csv(name, rows):
            out.line(line)
        return
    found = peaks(account, start, end)
    status: PoolStatus | None = getattr(account, "status", None)
    if status is not None and not (options["start"] or options["end"]):
        # The running interval is not in the history yet; the worker knows today's peaks.
        _merge(found, status.peaks_today)
    found["all_time"] = _records(account)
    if status is not None:
        _merge(found["all_time"], status.peaks_all_time)
    header = ("MEASURE", "PEAK", "AT", "ALL-TIME PEAK", "AT")
    rows_text = [
        (
            name.replace("_", " "),
            *_peak(found[name]),
            *_peak(found["all_time"].get(name)),
        )
        for name in MEASURES
    ]
    counts = ", ".join(
        counted(found[name], noun)
        for name, noun in (
            ("intervals", "interval"),
            ("ticks_received", "tick"),
            ("reconnects", "reconnect"),
            ("drops", "drop"),
        )
    )
    heading = f"{moment(start)} to {moment(end)}: {counts}"
    out.show(found, f"{heading}\n\n{table(header, rows_text, right=(1, 3))}")


def _records(account: BrokerAccount) -> dict[str, Any]:
    record: PoolRecord | None = getattr(account, "record", None)
    if record is None:
        return {}
    return {
        name: {"value": getattr(record, name), "at": getattr(record, f"{name}_at")}
        for name in MEASURES
    }


def _merge(found: dict[str, Any], live: Mapping[str, PeakSeen]) -> None:
    for name, peak in live.items():
        known = found.get(name)
        if known is None or peak.value > known["value"]:
            found[name] = {"value": peak.value, "at": peak.at}


def _peak(peak: dict[str, Any] | None) -> tuple[str, str]:
    return ("-", "-") if peak is None else (f"{peak['value']:,.0f}", moment(peak["at"]))


READING = (
    Subcommand(name="list", help="all pools, one a line", run=_list, arguments=_list_arguments),
    Subcommand(
        name="show", help="one pool with its connections", run=_show, arguments=_name_argument
    ),
    Subcommand(
        name="stats",
        help="counters of one pool, or totals of all",
        run=_stats,
        arguments=_optional_name_argument,
    ),
    Subcommand(
        name="peaks", help="peaks over a range of time", run=_peaks, arguments=_peaks_arguments
    ),
)
