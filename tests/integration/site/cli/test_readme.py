"""What the README says, done as it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.integration.site.processes.test_runpool import Installation
from tests.support import eventually_sync, free_port

ROOT = Path(__file__).resolve().parents[4]
README = (ROOT / "README.md").read_text()
PYTHON = ".venv/bin/python"
# What a person types where the command asks, and the master that a broker would send.
ANSWERS = {
    "DJANGO_SUPERUSER_USERNAME": "first",
    "DJANGO_SUPERUSER_EMAIL": "first@example.com",
    "DJANGO_SUPERUSER_PASSWORD": "a long first password",
}
MASTER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange\n"
    "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE\n"
)
FURTHER = {"createsuperuser": ["--noinput"], "loadinstruments": ["--file", "{master}"]}
SERVERS = {"runpool": "serves 0 pools", "rungateway": "gateway: site on"}


def block(heading: str) -> list[str]:
    """Return the command lines of the first block under a heading."""
    section = README.partition(f"\n## {heading}\n")[2]
    code = re.search(r"^```\w*\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert code is not None, heading
    return [line.partition("  #")[0].strip() for line in code[1].splitlines() if line.strip()]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "data")
    made.env |= {**ANSWERS, "PORT": str(free_port()), "OPENALGO_PORT": str(free_port())}
    return made


def test_every_make_target_that_is_named_is_there() -> None:
    for target in sorted(set(re.findall(r"^make (\w+)", README, re.MULTILINE))):
        done = subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.timeout(240)
def test_run_it_for_real_works_line_by_line(installation: Installation, tmp_path: Path) -> None:
    """Each line is run as it stands, on a folder without anything, in its order."""
    master = tmp_path / "master.csv"
    master.write_text(MASTER)
    lines = block("Run it for real")
    assert lines[0] == "make install"
    running: list[subprocess.Popen[str]] = []
    try:
        for line in lines[1:]:
            program, script, command, *arguments = shlex.split(line)
            assert (program, script) == (PYTHON, "manage.py"), line
            further = [each.format(master=master) for each in FURTHER.get(command, [])]
            if command not in SERVERS:
                code, out = installation.manage(command, *arguments, *further)
                assert code == 0, f"{line}: {out}"
                continue
            process = installation.start(script, command, *arguments)
            running.append(process)
            assert process.stdout is not None
            for said in process.stdout:
                if SERVERS[command] in said:
                    break
            else:
                pytest.fail(f"{line} ended: {process.wait()}")
        assert len(running) == len(SERVERS)
        address = f"http://127.0.0.1:{installation.env['PORT']}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{address}/admin/login/", timeout=30) as answer:
            assert b"csrfmiddlewaretoken" in answer.read()
        eventually_sync(lambda: _is_ready(opener, address), timeout=30)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.communicate(timeout=30)
    assert [process.returncode for process in running] == [0] * len(SERVERS)


def _is_ready(opener: urllib.request.OpenerDirector, address: str) -> bool:
    with opener.open(f"{address}/readyz", timeout=10) as answer:
        return bool(answer.status == 200)
