"""What is said of a database whose tables are missing, or are those of another version."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.fix_services import PostgresServer
from tests.integration.database.kit import run

MASTER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange\n"
    "738561,2885,RELIANCE,RELIANCE INDUSTRIES,0,,0,0.05,1,EQ,NSE,NSE\n"
)
MIGRATE = "run `python manage.py migrate`"
# What each state is made with, and the words for it.
STATES = {
    "empty": ("", "The database has no tables"),
    "behind": (
        'for app in ("contenttypes", "auth", "admin", "sessions", "streaming"):\n'
        '    call_command("migrate", app, verbosity=0)\n'
        'call_command("migrate", "pooling", "0009", verbosity=0)\n',
        "The database is of an older version",
    ),
}
PREPARE = """
import django; django.setup()
from django.core.management import call_command
from django.db import connection
from pooling.keys.files import create_key_file; from pooling import conf
create_key_file(conf.key_file())
{make}
connection.close()
"""
COMMANDS = """
import contextlib, io, sys
import django
django.setup()
from openalgo_site.cli.command_line import run

for line in (
    "loadinstruments", "loadinstruments --broker zerodha --file MASTER",
    "createapikey --user asha --name x", "apikeys", "pool list", "pool show asha",
    "pool top --once",
    "changepassword asha", "createsuperuser --noinput --username a --email a@b.cd",
    "runpool",
):
    said = io.StringIO()
    code = 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            run(["manage.py", *line.replace("MASTER", sys.argv[1]).split()])
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):  # the interpreter prints it and ends with 1
                print(code, file=said)
                code = 1
    print(line, code, said.getvalue().replace("\\n", " / "), sep=" | ")
"""
PAGES = """
import django
django.setup()
from django.test import Client
client = Client(raise_request_exception=False)
client.cookies["sessionid"] = "x" * 32
for path in ("/", "/admin/", "/api/pools", "/readyz"):
    answer = client.get(path, headers={"X-API-KEY": "x" * 64}, HTTP_HOST="localhost")
    print(path, answer.status_code, answer.content.decode().replace("\\n", " "), sep=" | ")
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return ""
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"schema_{abs(hash(request.node.name))}"
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    return f"{server.url.rsplit('/', 1)[0]}/{name}"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("state", sorted(STATES))
def test_every_command_says_what_mends_it(tmp_path: Path, url: str, state: str) -> None:
    make, words = STATES[state]
    master = tmp_path / "master.csv"
    master.write_text(MASTER)
    run(PREPARE.format(make=make), tmp_path, DATABASE_URL=url)
    code = f"import sys; sys.argv[1:] = [{str(master)!r}]\n{COMMANDS}"
    said = run(code, tmp_path, DATABASE_URL=url).splitlines()
    wrong = [
        line
        for line in said
        if "Traceback" in line
        or "no such table" in line
        or 'relation "' in line
        or not (_needs_no_new_table(line, state) or (words in line and MIGRATE in line))
    ]
    assert not wrong, "\n".join(wrong)
    codes = {line.split(" | ")[0]: line.split(" | ")[1] for line in said}
    assert codes["runpool"] == "78"
    assert codes["pool list"] == "78" or state == "behind"


def _needs_no_new_table(line: str, state: str) -> bool:
    """Tell whether a command has its tables in a database that is a version behind."""
    own = ("createapikey", "apikeys", "changepassword", "createsuperuser", "loadinstruments | ")
    return state == "behind" and line.startswith(own)


@pytest.mark.timeout(240)
def test_pages_and_probes_say_what_mends_it(tmp_path: Path, url: str) -> None:
    said = run(PAGES, tmp_path, DATABASE_URL=url).splitlines()
    for line in said:
        _, status, text = line.split(" | ", 2)
        assert status == "503", line
        assert "python manage.py migrate" in text, line
        assert "does not answer" not in text, line
    assert len(said) == 4
