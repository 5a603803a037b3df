#!/usr/bin/env bash
# channels-redis 4.3.0 on redis-py 8: a channel on which nothing is sent raises every 5 s.
#
# RedisChannelLayer.receive() blocks in BZPOPMIN for 5 s at a time. redis-py 8 made 5 s the default
# of socket_timeout (none before), so the client gives up in the very moment in which the server
# would answer "nothing", and receive() raises redis.exceptions.TimeoutError, which ends a Channels
# consumer. `pip install channels-redis` brings redis-py 8. A socket_timeout above 5 s mends it.
#
# Needs python3, pip and redis-server. Exits 0 while this is so, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT

cat >"$folder/quiet.py" <<'PYTHON'
import asyncio, importlib.metadata, json, sys, time
from channels_redis.core import RedisChannelLayer

async def main(host):
    layer = RedisChannelLayer(hosts=[host])
    channel = await layer.new_channel()
    began = time.monotonic()
    try:
        await asyncio.wait_for(layer.receive(channel), 12)
    except TimeoutError:
        outcome = "waits on"
    except Exception as error:
        outcome = f"raises {type(error).__module__}.{type(error).__name__}"
    after = time.monotonic() - began
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("channels-redis", "redis")]
    extra = {key: value for key, value in host.items() if key != "address"}
    print(f"{', '.join(versions)}, host options {extra or '(none)'}: {outcome} after {after:.1f} s", flush=True)
    return outcome

print(asyncio.run(main(json.loads(sys.argv[1]))), file=sys.stderr)
PYTHON

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --save "" --dir "$folder" >/dev/null &
server=$!
redis-server --version
url="redis://127.0.0.1:$port/0"

changed=0
look() { # version of redis-py, options of the host as JSON, what is expected
    python="$folder/$1/bin/python"
    if [ ! -x "$python" ]; then
        python3 -m venv "$folder/$1"
        "$folder/$1/bin/pip" install -q --disable-pip-version-check \
            channels==4.3.2 channels-redis==4.3.0 "redis==$1"
    fi
    outcome=$("$python" "$folder/quiet.py" "{\"address\": \"$url\"$2}" 2>&1 >"$folder/said" | tail -1)
    cat "$folder/said"
    [ "$outcome" = "$3" ] || { echo "  changed: expected '$3'"; changed=1; }
}
look 8.1.0 "" "raises redis.exceptions.TimeoutError"
look 8.0.0 "" "raises redis.exceptions.TimeoutError"
look 8.1.0 ', "socket_timeout": 15' "waits on"
look 7.4.0 "" "waits on"
exit "$changed"
