"""Pure modules decide, and import nothing that acts.

Each module of the table is imported in a fresh interpreter in which the modules that act cannot be
imported by our code at all, and in which the network and framework ones must stay unloaded even
through what our code imports. Add a pure module to the table when you write it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PURE_MODULES = [
    # brokers
    "brokers._template.codec",
    "brokers._template.constants",
    "brokers._template.symbols",
    "brokers.angel.codec",
    "brokers.angel.constants",
    "brokers.angel.deep_books",
    "brokers.angel.pairs",
    "brokers.angel.requests",
    "brokers.angel.symbols",
    "brokers.batching",
    "brokers.binance.codec",
    "brokers.binance.constants",
    "brokers.binance.messages",
    "brokers.binance.requests",
    "brokers.binance.symbols",
    "brokers.times.credential_expiry",
    "brokers.masters.decimal_text",
    "brokers.dhan.codec",
    "brokers.dhan.constants",
    "brokers.dhan.deep_codec",
    "brokers.dhan.symbols",
    "brokers.dhan.values",
    "brokers.exceptions",
    "brokers.failing",
    "brokers.fyers.answers",
    "brokers.fyers.codec",
    "brokers.fyers.constants",
    "brokers.fyers.credential",
    "brokers.fyers.pending",
    "brokers.fyers.requests",
    "brokers.fyers.symbols",
    "brokers.fyers.topics",
    "brokers.times.held_up",
    "brokers.masters.index_names",
    "brokers.times.market_clock",
    "brokers.masters.text",
    "brokers.passed_over",
    "brokers.redaction",
    "brokers.times.retry_after",
    "brokers.settings",
    "brokers.types",
    "brokers.upstox.codec",
    "brokers.upstox.constants",
    "brokers.upstox.schema",
    "brokers.upstox.symbols",
    "brokers.words",
    "brokers.zerodha.codec",
    "brokers.zerodha.constants",
    "brokers.zerodha.symbols",
    # pooling
    "pooling.subscriptions.recorder",
    "pooling.alerts.addresses",
    "pooling.alerts.debounce",
    "pooling.alerts.message",
    "pooling.subscriptions.allocator",
    "pooling.backoff",
    "pooling.subscriptions.book",
    "pooling.subscriptions.capacity",
    "pooling.connectors.circuit",
    "pooling.connectors.rate",
    "pooling.connection.meters",
    "pooling.exceptions",
    "pooling.connection.freshness",
    "pooling.connection.news",
    "pooling.exclusive.options",
    "pooling.history",
    "pooling.http.policy",
    "pooling.instruments.names",
    "pooling.instruments.words",
    "pooling.http.stats",
    "pooling.lifecycle",
    "pooling.connection.losses",
    "pooling.subscriptions.preview",
    "pooling.subscriptions.offer",
    "pooling.subscriptions.outcomes",
    "pooling.subscriptions.plan",
    "pooling.operations.pool_state",
    "pooling.tables",
    "pooling.subscriptions.rebalancer",
    "pooling.subscriptions.reconciler",
    "pooling.subscriptions.reoffer",
    "pooling.worker.shared_stats",
    "pooling.pool.stats",
    "pooling.subscriptions.tracker",
    "pooling.worker.untold",
    "pooling.subscriptions.upkeep",
    # openalgo_site
    "openalgo_site.config.public_url",
    "openalgo_site.turns.requests",
    "openalgo_site.web.status.history",
    "openalgo_site.web.status.shape",
    # streaming
    "streaming.addresses",
    "streaming.clients.batch_outbox",
    "streaming.clients.batches",
    "streaming.fanout.pending_ticks",
    "streaming.shares.budget",
    "streaming.wire.message",
    "streaming.wire.versions",
    "streaming.link.catching_up",
    "streaming.clients.outbox_counts",
    "streaming.fanout.concerned",
    "streaming.clients.outbox",
    "streaming.protocol.entries",
    "streaming.fanout.feed_states",
    "streaming.clients.frames",
    "streaming.edge.frame_gate",
    "streaming.fanout.index",
    "streaming.protocol.held",
    "streaming.edge.large_messages",
    "streaming.link.latency",
    "streaming.monitoring.latency_window",
    "streaming.limits",
    "streaming.clients.look_pacing",
    "streaming.gateway.origins",
    "streaming.fanout.payloads",
    "streaming.protocol.parsing",
    "streaming.protocol.vocabulary",
    "streaming.fanout.quiet_lines",
    "streaming.protocol.replies",
    "streaming.link.returning",
    "pooling.worker.refused",
    "pooling.worker.seat_sharing",
    "streaming.protocol.session",
    "streaming.edge.strangers",
    "streaming.link.tick_filter",
    "streaming.turn_pacing",
    "streaming.wire.zmtp",
]

# Run in the child: our modules may not import a blocked name, whoever else has already loaded it.
CHECK = """
import builtins, sys

ACTING = {"django", "channels", "asyncio", "zmq", "websockets", "socket", "threading", "time", "os"}
UNLOADED = {"django", "channels", "asyncio", "zmq", "websockets"}
OURS = ("brokers", "pooling", "streaming", "openalgo_site")
real_import = builtins.__import__

def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if importer.partition(".")[0] in OURS and name.partition(".")[0] in ACTING:
        raise ImportError(f"{importer} is pure and imports {name}")
    return real_import(name, globals, locals, fromlist, level)

builtins.__import__ = guarded
__import__(sys.argv[1])
loaded = sorted(UNLOADED & set(sys.modules))
if loaded:
    raise ImportError(f"{sys.argv[1]} loads {', '.join(loaded)}")
"""


def check(module: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHECK, module],
        cwd=root,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.mark.parametrize("module", PURE_MODULES)
def test_a_pure_module_imports_nothing_that_acts(module: str) -> None:
    result = check(module, ROOT)
    assert result.returncode == 0, result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("source", ["import time", "from os import path", "import zmq.asyncio"])
def test_the_guard_bites(source: str, tmp_path: Path) -> None:
    """A module that acts is caught, so that a green table means something."""
    package = tmp_path / "pooling"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "impure.py").write_text(source)
    result = check("pooling.impure", tmp_path)
    assert result.returncode != 0
    assert "pure" in result.stderr


def acting_names(source: str, class_name: str) -> set[str]:
    """Return what a class names that waits, acts, or reads a clock, although its module does so."""
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and node.name == class_name
    ]
    assert len(found) == 1
    inside = list(ast.walk(found[0]))
    names = {node.id for node in inside if isinstance(node, ast.Name)}
    waits = {"await" for node in inside if isinstance(node, ast.Await | ast.AsyncFunctionDef)}
    return waits | names & {"asyncio", "logger", "logging", "os", "socket", "threading", "time"}


def test_the_ledger_of_lent_connections_decides_and_acts_not() -> None:
    """It stands beside the pool that it decides for, so that an ``acquire`` reads down."""
    source = (ROOT / "pooling/exclusive/pool.py").read_text()
    assert acting_names(source, "ExclusiveLedger") == set()
    assert acting_names(source, "ExclusivePool") == {"await", "asyncio", "logger"}
