"""What an installation writes is readable by its own user only, from the first write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from openalgo_site.config.private_files import why_not_ours
from openalgo_site.config.secret_files import SecretFileError, read_or_create_secret
from openalgo_site.doctor import storage
from openalgo_site.doctor.findings import Outcome
from tests.integration.database.kit import ROOT, environment

USE = """
from pathlib import Path
import django
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.contrib.auth.models import User
from django.db import connection
from openalgo_site.demo import secrets_file
from openalgo_site.adapters.proxy_notes import proxy_notes
from openalgo_site.processes.running_ports import say_running
data = Path(settings.DATA_DIR)
call_command("migrate", verbosity=0)
User.objects.create_user("asha", password="p")
call_command("createkeyfile", verbosity=0)
secrets_file.read_or_create(data / "demo.json")
proxy_notes().note("10.0.0.9")
call_command("pool", "export", "--output", str(data / "accounts.json"))
call_command("collectstatic", verbosity=0, interactive=False)
connection.cursor().execute("SELECT 1")
with say_running(data, settings.ENV):
    for path in sorted([data, *data.rglob("*")]):
        if path.stat().st_mode & 0o077:
            print(f"open {path} {path.stat().st_mode & 0o7777:04o}")
    print("files", *sorted(each.name for each in data.iterdir()))
"""


def opened(code: str, data_dir: Path, **variables: str) -> str:
    """Run ``code`` as a user with the usual mask does, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(data_dir, **variables),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        umask=0o022,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_nothing_that_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    found = opened(USE, data, SECRET_KEY="s" * 50, DATABASE_URL="").splitlines()
    public = f"open {data / 'credentials.pub'} 0644"  # it only seals
    assert [line for line in found if line.startswith("open ")] == [public]
    names = found[-1].split()
    assert {"tickpool.sqlite3", "tickpool.sqlite3-wal", "credentials.key", "static"} <= {*names}
    assert {"accounts.json", "demo.json", "demo-ports.json", "proxies-seen.json"} <= {*names}
    assert mode(data) == mode(data.parent) == 0o700


def test_an_installation_of_before_is_tightened(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "static").mkdir(parents=True)
    for name in ("tickpool.sqlite3", "tickpool.sqlite3-wal", "proxies-seen.json"):
        (data / name).touch()
        (data / name).chmod(0o644)
    data.chmod(0o755)
    opened("import openalgo_site.settings", data, SECRET_KEY="s" * 50)
    assert mode(data) == 0o700
    assert {f"{mode(each):04o}" for each in data.iterdir() if each.is_file()} == {"0600"}


def test_a_folder_that_holds_more_keeps_its_mode_and_the_doctor_tells(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_elsewhere", list)
    data_dir.mkdir()
    for name in ("tickpool.sqlite3", "somebody's.txt"):
        (data_dir / name).touch()
        (data_dir / name).chmod(0o644)
    data_dir.chmod(0o755)
    opened("import openalgo_site.settings", data_dir, SECRET_KEY="s" * 50)
    assert mode(data_dir) == 0o755
    assert mode(data_dir / "somebody's.txt") == 0o644
    assert mode(data_dir / "tickpool.sqlite3") == 0o600
    (told,) = [each for each in storage.private() if each.outcome is not Outcome.OK]
    assert told.outcome is Outcome.FAILED
    assert "0755" in told.message
    assert f"chmod 700 {data_dir}" in told.mends


def test_the_doctor_names_each_open_file_and_its_mend(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [each.outcome for each in storage.private()] == [Outcome.SKIPPED]
    data_dir.mkdir(mode=0o700)
    monkeypatch.setattr(storage, "_elsewhere", list)
    file = data_dir / "tickpool.sqlite3"
    file.touch(mode=0o600)
    assert [each.outcome for each in storage.private()] == [Outcome.OK]
    file.chmod(0o644)
    (told,) = storage.private()
    assert told.outcome is Outcome.FAILED
    assert f"chmod 600 {file}" in told.mends
    file.chmod(0o640)
    (told,) = storage.private()
    assert told.outcome is Outcome.WARNING
    file.chmod(0o600)
    data_dir.chmod(0o750)
    (told,) = storage.private()
    assert told.outcome is Outcome.WARNING
    assert f"chmod 700 {data_dir}" in told.mends


def test_the_doctor_looks_at_a_database_elsewhere_and_at_env(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir.mkdir(mode=0o700)
    database, dotenv = tmp_path / "own.sqlite3", tmp_path / ".env"
    for file in (database, dotenv):
        file.touch()
        file.chmod(0o644)
    dotenv.write_text("SECRET_KEY=s\n")
    monkeypatch.setattr(storage, "_elsewhere", lambda: [database, dotenv])
    told = list(storage.private())
    assert [each.mends for each in told] == [
        f"run `chmod 600 {each}`" for each in (database, dotenv)
    ]


@pytest.mark.parametrize(
    ("line", "mode", "is_told"),
    [
        ("PORT=8001", 0o644, False),
        ("SECRET_KEY=", 0o644, False),
        ("# SECRET_KEY=s", 0o644, False),
        ("ZMQ_CURVE_KEY_FILE=/etc/tickpool/bus.key", 0o644, False),
        ("DATABASE_URL=postgresql://tickpool@/tickpool", 0o644, False),
        ("REDIS_URL=redis://127.0.0.1:6379/0", 0o644, False),
        ("PORT=8001", 0o664, True),
        ("SECRET_KEY=s", 0o644, True),
        ("export METRICS_KEY='k'", 0o644, True),
        ("EMAIL_PASSWORD=p", 0o640, True),
        ("SIMULATOR_ACCESS_TOKEN=t", 0o644, True),
        ("DATABASE_URL=postgresql://tickpool:p@db/tickpool", 0o644, True),
        ("REDIS_URL=redis://:p@127.0.0.1:6379/0", 0o644, True),
        ("BROKER_PROXY=http://me:p@proxy:3128", 0o644, True),
        ("MY_API_KEY=k", 0o644, True),
    ],
)
def test_an_env_that_holds_no_secret_may_be_read(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch,
    line: str, mode: int, is_told: bool,
) -> None:  # fmt: skip
    data_dir.mkdir(mode=0o700)
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"HOST=127.0.0.1\n{line}\n")
    dotenv.chmod(mode)
    monkeypatch.setattr(storage, "_elsewhere", lambda: [dotenv])
    told = [each.outcome for each in storage.private() if each.mends]
    assert bool(told) is is_told


def refused(data_dir: Path, **variables: str) -> str:
    """Import the settings, which end the process, and return what they said."""
    done = subprocess.run(
        [sys.executable, "-c", "import openalgo_site.settings; print('READ')"],
        cwd=ROOT,
        env=environment(data_dir, **variables),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode != 0
    assert "READ" not in done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_folder_that_anybody_may_write_into_is_not_used(tmp_path: Path) -> None:
    """Nothing that was put there beforehand is taken for a secret, and nothing is written."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("django-secret.key", "somebody's.txt"):
        (data / name).write_text("known to everybody")
        (data / name).chmod(0o600)
    data.chmod(0o777)
    assert f"chmod 700 {data}" in refused(data)
    data.chmod(0o1777)  # as /tmp, whose mode is meant
    told = str(why_not_ours(data, None))
    assert str(data) in told
    assert "chmod" not in told
    assert {each.name for each in data.iterdir()} == {"django-secret.key", "somebody's.txt"}


def test_a_folder_of_ones_own_in_a_place_of_everybody_is_used(tmp_path: Path) -> None:
    """As the volume of a container is one."""
    shared, data = tmp_path / "shared", tmp_path / "shared" / "data"
    data.mkdir(mode=0o700, parents=True)
    shared.chmod(0o777)
    assert why_not_ours(data, {os.geteuid()}) is None


def test_what_another_account_made_is_not_ours(tmp_path: Path) -> None:
    """Whoever comes first to a place where all may write knows what is kept there."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "metrics.key").touch(mode=0o600)
    own = os.geteuid()
    assert why_not_ours(folder, {own}) is None
    assert why_not_ours(folder, None) is None  # root may look at everybody's
    told = why_not_ours(folder, {own + 1})
    assert told is not None
    assert str(folder) in told
    assert "chown" in told
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert why_not_ours(link, {own}) is None


def test_a_file_of_another_account_in_an_own_folder_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was open once is closed by the first start; what lay in it stays."""
    folder, lstat = tmp_path / "data", Path.lstat
    folder.mkdir(mode=0o700)
    for name in ("tickpool.sqlite3", "somebody's.txt"):
        (folder / name).touch(mode=0o600)
    theirs = {"somebody's.txt"}

    def owned(path: Path) -> os.stat_result:
        found = list(lstat(path))
        found[4] = 4711 if path.name in theirs else 4712
        return os.stat_result(found)

    monkeypatch.setattr(Path, "lstat", owned)
    assert why_not_ours(folder, {0, 4712}) is None  # TickPool does not read that one
    theirs.add("tickpool.sqlite3")
    told = why_not_ours(folder, {0, 4712})
    assert told is not None
    assert str(folder / "tickpool.sqlite3") in told
    assert "4711" in told


def test_a_secret_that_others_could_read_is_not_used(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    secret = data / "django-secret.key"
    secret.write_text("known to others")
    for open_mode in (0o640, 0o604, 0o644):
        secret.chmod(open_mode)
        with pytest.raises(SecretFileError, match="chmod 600"):
            read_or_create_secret(secret, "another")
    assert "chmod 600" in refused(data, SECRET_KEY="")
    assert mode(secret) == 0o644  # so that whoever looks sees what was wrong
    secret.chmod(0o600)
    assert read_or_create_secret(secret, "another") == "known to others"
