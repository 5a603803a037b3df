#!/usr/bin/env bash
# psycopg-pool 3.3.3: after a restart of PostgreSQL, `check=ConnectionPool.check_connection` fails the
# first callers of a pool that is full of dead connections, though the server is back.
#
# A dead connection that the check finds is put away and the next one is tried, but only after a
# wait: 1 s, 2 s, 4 s, ... (the policy for attempts to reconnect). With ten dead ones in the pool and
# the time-out of 10 s that many configure, getconn() raises PoolTimeout. Django's CONN_HEALTH_CHECKS
# with OPTIONS["pool"] passes this very check. pool.check(), called once the first dead one is found,
# finds all of them at once: the same caller is served within a fraction of a second.
#
# Needs python3, pip and PostgreSQL (initdb, pg_ctl). Exits 0 while this is so, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d /tmp/psycopg-pool-XXXXXX)
binaries=$(dirname "$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb | tail -1)")
as=()
if [ "$(id -u)" = 0 ]; then as=(runuser -u postgres --); chown postgres "$folder"; fi
trap 'cd /; "${as[@]}" "$binaries/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check "psycopg[binary]==3.3.9" psycopg-pool==3.3.3
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/server" <<SERVER
#!/bin/sh
cd /
exec ${as[*]} "$binaries/pg_ctl" -D "$folder/data" -l "$folder/log" -m fast -w -o "-p $port -h 127.0.0.1 -k $folder -F" "\$1" >/dev/null
SERVER
chmod +x "$folder/server"
(cd / && "${as[@]}" "$binaries/initdb" -D "$folder/data" -U tester -A trust --no-sync >/dev/null)
"$folder/server" start
"$binaries/postgres" --version

cat >"$folder/restart.py" <<'PYTHON'
import importlib.metadata, logging, subprocess, sys, time
import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

url, server = sys.argv[1:]
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("psycopg", "psycopg-pool")))

def full(check):
    pool = ConnectionPool(url, min_size=2, max_size=10, timeout=10, check=check, open=True)
    taken = [pool.getconn() for _ in range(10)]
    for connection in taken:
        pool.putconn(connection)
    subprocess.run([server, "restart"], check=True)
    return pool

def timed(words, pool, get):
    began = time.monotonic()
    try:
        pool.putconn(get())
        outcome = "a connection"
    except PoolTimeout as error:
        outcome = f"PoolTimeout: {error}"
    print(f"{words}: {outcome}, after {time.monotonic() - began:.1f} s", flush=True)
    pool.close()
    return outcome == "a connection"

pool = full(ConnectionPool.check_connection)
by_library = timed("check=check_connection", pool, pool.getconn)

pool = full(None)
def get():
    connection = pool.getconn()
    try:
        connection.execute("")
    except psycopg.Error:
        pool.putconn(connection)
        pool.check()
        connection = pool.getconn()
    return connection
by_hand = timed("pool.check() at the first dead one", pool, get)
sys.exit(0 if (by_library, by_hand) == (False, True) else 1)
PYTHON
"$folder/venv/bin/python" "$folder/restart.py" "postgresql://tester@127.0.0.1:$port/postgres" "$folder/server"
