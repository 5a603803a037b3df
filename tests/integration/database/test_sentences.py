"""What commands say when the database fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.database.kit import run
from tests.support import free_port

COMMANDS = """
import contextlib, io, sys
import django
django.setup()
from openalgo_site.cli.command_line import run

for line in (
    "loadinstruments", "loadinstruments --broker zerodha --file MASTER",
    "createapikey --user asha --name x", "apikeys", "pool list", "pool show asha", "migrate",
    "changepassword asha", "runpool",
):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            run(["manage.py", *line.replace("MASTER", sys.argv[1]).split()])
            code = 0
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):  # the interpreter prints it and ends with 1
                print(code, file=said)
                code = 1
    text = said.getvalue()
    assert code == 1, (line, code, text)
    assert "Traceback" not in text, (line, text)
    assert "The database cannot be used (" in text, (line, text)
    assert "pool doctor` says why." in text, (line, text)
print("done")
"""


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_a_database_that_fails_is_a_sentence_in_every_command(tmp_path: Path, kind: str) -> None:
    master = tmp_path / "master.csv"
    master.write_text(
        "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
        "lot_size,instrument_type,segment,exchange\n"
        "738561,2885,RELIANCE,RELIANCE INDUSTRIES,0,,0,0.05,1,EQ,NSE,NSE\n"
    )
    data = tmp_path / "data"
    data.mkdir()
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    if kind == "sqlite":
        (data / "tickpool.sqlite3").write_bytes(b"this is no database, but long enough" * 100)
        url = ""
    code = f"import sys; sys.argv[1:] = [{str(master)!r}]\n{COMMANDS}"
    prepare = (
        "import django; django.setup()\n"
        "from pooling.keys.files import create_key_file; from pooling import conf\n"
        "create_key_file(conf.key_file())"
    )
    run(prepare, data)
    assert run(code, data, DATABASE_URL=url, DB_CONNECTION_TIMEOUT="0.5").endswith("done")
