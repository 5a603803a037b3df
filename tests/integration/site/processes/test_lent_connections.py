"""An app of one's own to which the worker lends a connection: the code of the manual."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from tests.integration.site.processes.test_runpool import ROOT, Installation, until

ACCOUNT = """
import django; django.setup()
from django.contrib.auth.models import User
from pooling.models import BrokerAccount
BrokerAccount.objects.create(
    user=User.objects.create_user("asha"), broker="binance", endpoint="ws://127.0.0.1:{port}/stream"
)
"""


@pytest.fixture
def broker() -> Iterator[Server]:
    """Answers each message on a private path, and tells the path."""

    def handle(link: ServerConnection) -> None:
        assert link.request is not None
        for message in link:
            link.send(f"heard {message!r} on {link.request.path}")

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def documented_files() -> dict[str, str]:
    """Return the files that the manual shows, by name."""
    text = (ROOT / "docs/pool.md").read_text()
    return dict(re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def test_the_app_of_the_manual_is_lent_a_connection(tmp_path: Path, broker: Server) -> None:
    files = documented_files()
    assert set(files) == {"orders/apps.py", "own_settings.py"}
    own = tmp_path / "own"
    for name, text in files.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(text)
    installation = Installation(tmp_path / "data")
    installation.env |= {"PYTHONPATH": str(own), "BROKER_PROXY": "none"}
    assert installation.manage("createkeyfile")[0] == 0
    assert installation.manage("migrate", "-v0") == (0, "")
    port = broker.socket.getsockname()[1]
    assert installation.run("-c", ACCOUNT.format(port=port)) == (0, "")

    installation.env["DJANGO_SETTINGS_MODULE"] = "own_settings"
    process = installation.start("manage.py", "runpool")
    try:
        until(process, """heard '{"op":"subscribe"}' on /ws/private-key""")
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "orders end: the connection was closed by us" in rest
    assert "Traceback" not in rest
