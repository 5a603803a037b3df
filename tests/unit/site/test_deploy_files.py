"""Dashboard and alert rules name metrics, labels and values that ``/metrics`` has."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pooling.connection.losses import LossReason
from pooling.connectors.circuit import CircuitState
from pooling.lifecycle import ConnectionState
from pooling.operations.pool_state import PoolState
from streaming.edge_limits import Refusal
from streaming.link.latency import Latency

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = ROOT / "deploy" / "grafana" / "tickpool.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
MONITORING = ROOT / "docs" / "monitoring.md"

SEVERITIES = {"critical", "warning", "info"}
# What a label may be, for the metrics on which a rule or panel selects by it.
VALUES: dict[tuple[str, str], set[str]] = {
    ("tickpool_pools", "state"): set(PoolState),
    ("tickpool_pool_connections", "state"): {state.value for state in ConnectionState},
    ("tickpool_pool_circuits", "state"): {state.value for state in CircuitState},
    ("tickpool_pool_connection_losses_total", "reason"): set(LossReason),
    ("tickpool_clients_closed_total", "reason"): {
        "slow",
        "unauthenticated",
        "rate_limited",
        "too_big",
        "bad_request",
    },
    ("tickpool_edge_refused_total", "reason"): set(Refusal),
    ("tickpool_deliveries_conflated_total", "reason"): {"slow", "interval"},
    ("tickpool_deliveries_dropped_total", "reason"): {"unsubscribed", "closed"},
    ("tickpool_auth_failures_total", "reason"): {"invalid", "limited"},
    ("tickpool_notices_total", "result"): {"received", "refused", "unsent"},
    ("tickpool_latency_seconds_bucket", "stage"): set(Latency().stages),
}


def metrics() -> dict[str, tuple[str, set[str]]]:
    """Return name -> (type, labels) of the table; another test holds it to what is served."""
    rows = re.findall(
        r"^\| `(tickpool_\w+)` \| (\w+) \| ([^|]+) \|", MONITORING.read_text(), re.MULTILINE
    )
    found: dict[str, tuple[str, set[str]]] = {}
    for name, kind, text in rows:
        labels = set() if text == "none" else set(text.split(", "))
        found[name] = (kind, labels)
        if kind == "histogram":
            for ending in ("_bucket", "_sum", "_count"):
                found[name + ending] = (kind, labels | {"le"})
    return found


def faults(expr: str) -> list[str]:
    """Return what is wrong with a query: unknown metrics, labels, values, a counter's raw value."""
    known, wrong = metrics(), []
    for name, selector in re.findall(r"(?<![\w$])(tickpool_\w+)(?:\{([^}]*)\})?", expr):
        if name not in known:
            wrong.append(f"no metric {name}")
            continue
        for label, sign, text in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selector):
            if label not in known[name][1]:
                wrong.append(f"{name} has no label {label}")
            values = text.split("|") if "~" in sign else [text]
            allowed = VALUES.get((name, label))
            if allowed is not None and not set(values) <= allowed:
                wrong.append(f"{name}: {label} is never {text}")
    for grouping in re.findall(r"\bby \(([^)]*)\)", expr):
        labels = {each.strip() for each in grouping.split(",")}
        have = set().union(*(known[n][1] for n in re.findall(r"tickpool_\w+", expr) if n in known))
        wrong += [f"nothing has the label {label}" for label in labels - have]
    for counter in re.findall(r"tickpool_\w+_(?:total|bucket)", expr):
        if not re.search(rf"(?:rate|increase)\({counter}\b", expr):
            wrong.append(f"{counter} without rate or increase")
    if expr.count("(") != expr.count(")"):
        wrong.append("parentheses do not match")
    return wrong


def read_yaml(text: str) -> Any:
    """Read the plain part of YAML that the rules use, and refuse the rest: no file needs more.

    Mappings and lists by indentation of two, one scalar a line, plain or in double quotes.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]

    def block(at: int, indent: int) -> tuple[Any, int]:
        if lines[at][indent:].startswith("- "):
            items = []
            while at < len(lines) and lines[at].startswith(" " * indent + "- "):
                lines[at] = " " * (indent + 2) + lines[at][indent + 2 :]
                item, at = block(at, indent + 2)
                items.append(item)
            return items, at
        mapping: dict[str, Any] = {}
        while at < len(lines) and re.match(rf" {{{indent}}}[^ -]", lines[at]):
            match = re.fullmatch(r"(\w+):(?: (.+))?", lines[at][indent:])
            assert match, f"not in the plain form: {lines[at]!r}"
            key, value = match.groups()
            assert key not in mapping, f"{key} twice"
            if value is None:
                deeper = len(lines[at + 1]) - len(lines[at + 1].lstrip())
                mapping[key], at = block(at + 1, deeper)
            else:
                mapping[key], at = scalar(value), at + 1
        return mapping, at

    def scalar(value: str) -> str:
        if value.startswith('"'):
            found = json.loads(value)
            assert isinstance(found, str)
            return found
        # YAML would read these as something else than the text that they look like.
        assert not re.search(r": | #|^[\[{&*!|>'%@`?-]", value), f"quote it: {value}"
        return value

    found, end = block(0, 0)
    assert end == len(lines), f"cannot be read: {lines[end]!r}"
    return found


def rules() -> list[dict[str, Any]]:
    content = read_yaml(ALERTS.read_text())
    assert set(content) == {"groups"}
    assert all(set(group) == {"name", "rules"} for group in content["groups"])
    return [rule for group in content["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def test_every_alert_is_complete_and_asks_for_what_exists() -> None:
    found = rules()
    assert len(found) > 5
    for rule in found:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule
        assert re.fullmatch(r"TickPool[A-Za-z]+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule["for"])
        assert rule["labels"]["severity"] in SEVERITIES
        assert set(rule["annotations"]) == {"summary", "description"}
        assert "tickpool_" in rule["expr"]
        assert faults(rule["expr"]) == [], rule["alert"]
        used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        known = set().union(*(labels for _, labels in metrics().values()))
        assert used <= known
    names = [rule["alert"] for rule in found]
    assert len(names) == len(set(names))


def test_every_panel_asks_for_what_exists() -> None:
    queries = [
        (panel["title"], target["expr"])
        for panel in panels()
        for target in panel.get("targets", ())
    ]
    assert len(queries) > 10
    for title, expr in queries:
        assert faults(expr) == [], title
    asked = " ".join(expr for _, expr in queries)
    unseen = {n for n in metrics() if not n.endswith(("_sum", "_count")) and n not in asked}
    assert unseen == set(), "metrics that no panel shows"


def test_the_dashboard_has_the_shape_that_grafana_loads() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(dashboard)
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert faults(variables["broker"]["query"]) == []
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )
        assert not cells & taken, f"{panel['title']} lies on another panel"
        cells |= taken
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"]
            assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize(
    "expr",
    [
        "tickpool_nothing > 0",
        'tickpool_pools{colour="red"} > 0',
        'tickpool_pools{state="dead"} > 0',
        "sum by (user) (tickpool_pools)",
        "tickpool_pool_ticks_total > 5",
        "sum(tickpool_pools",
    ],
)
def test_the_check_bites(expr: str) -> None:
    assert faults(expr)


@pytest.mark.parametrize(
    "text", ["a: {b: 1}\n", "a: 'x'\n", "a:\n  b: x: y\n", "a: 1\na: 2\n", "a: 1\n   b: 2\n"]
)
def test_the_reader_refuses_what_it_does_not_know(text: str) -> None:
    with pytest.raises(AssertionError):
        read_yaml(text)
