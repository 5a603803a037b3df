"""Use the OpenAlgo SDK against a gateway and report what its callbacks and caches saw.

Arguments: scenario, WebSocket URL, API key, optionally a directory with another version of the SDK.
Scenarios: ``modes`` (LTP, Quote and Depth of one symbol, then unsubscribe), ``untraded`` (the same
of one that has no last price yet), ``wrong_key``,
``orders`` (SDK 2.x), ``reconnect`` (SDK 2.x: the server goes away and comes back),
``resume`` (prices stop for a while and come again by themselves).
"""

import json
import sys
import time

scenario, url, api_key, *sdk = sys.argv[1:]
sys.path[:0] = sdk

from openalgo import api  # noqa: E402 - which SDK this is depends on the line above

INFY = [{"exchange": "NSE", "symbol": "INFY"}]
TCS = [{"exchange": "NSE", "symbol": "TCS"}]


def wait_until(condition, timeout=30.0):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def modes(client):
    seen = {"ltp": [], "quote": [], "depth": []}
    client.subscribe_ltp(INFY, on_data_received=seen["ltp"].append)
    client.subscribe_quote(INFY, on_data_received=seen["quote"].append)
    client.subscribe_depth(INFY, on_data_received=seen["depth"].append)
    arrived = wait_until(lambda: all(seen.values()))
    first = {kind: ticks[0] for kind, ticks in seen.items() if ticks}
    caches = [client.get_ltp(), client.get_quotes(), client.get_depth()]
    client.unsubscribe_ltp(INFY)
    client.unsubscribe_quote(INFY)
    client.unsubscribe_depth(INFY)
    # Requests are served in their order: behind the first tick of another symbol, nothing may come.
    others = []
    client.subscribe_ltp(TCS, on_data_received=others.append)
    arrived = wait_until(lambda: any(tick["symbol"] == "TCS" for tick in others)) and arrived
    for data in (client.ltp_data, client.quotes_data, client.depth_data):
        data.clear()
    seen["ltp"] = others
    counts = {kind: len(ticks) for kind, ticks in seen.items()}
    time.sleep(0.5)
    late = {kind: seen[kind][count:] for kind, count in counts.items()}
    return {
        "arrived": arrived,
        "first": first,
        "caches": caches,
        "after_unsubscribe": [
            client.get_ltp("NSE", "INFY"),
            client.get_quotes("NSE", "INFY"),
            client.get_depth("NSE", "INFY"),
        ],
        "late": {
            kind: sum(tick["symbol"] == "INFY" for tick in ticks) for kind, ticks in late.items()
        },
    }


def untraded(client):
    seen = {"ltp": [], "quote": [], "depth": []}
    client.subscribe_ltp(INFY, on_data_received=seen["ltp"].append)
    client.subscribe_quote(INFY, on_data_received=seen["quote"].append)
    client.subscribe_depth(INFY, on_data_received=seen["depth"].append)
    arrived = wait_until(lambda: seen["quote"] and seen["depth"])
    caches = [client.get_ltp(), client.get_quotes(), client.get_depth()]
    return {"arrived": bool(arrived), "seen": seen, "caches": caches}


def orders(client):
    seen = []
    client.subscribe_orders(on_order_update=seen.append)
    wait_until(lambda: seen)
    return {"orders": client.get_orders()["orders"], "seen": len(seen)}


def reconnect(client):
    seen = []
    client.subscribe_quote(INFY, on_data_received=seen.append)
    wait_until(lambda: seen)
    before = client.ws
    client.subscribe_ltp(TCS)  # tells the test that it may begin
    lost = wait_until(lambda: not client.connected or client.ws is not before)
    count, started = len(seen), time.monotonic()
    resumed = wait_until(lambda: len(seen) > count + 3)
    return {"lost": lost, "resumed": resumed, "seconds": time.monotonic() - started}


def resume(client):
    seen = []
    client.subscribe_quote(INFY, on_data_received=seen.append)
    arrived = wait_until(lambda: seen)
    client.subscribe_ltp(TCS)  # tells the test that it may begin

    def is_silent():
        count = len(seen)
        time.sleep(0.5)
        return len(seen) == count

    silent, count = wait_until(is_silent), len(seen)
    client.unsubscribe_ltp(TCS)  # tells the test that it may end
    return {
        "arrived": arrived,
        "silent": silent,
        "resumed": wait_until(lambda: len(seen) > count + 3),
        "connected": client.connected,
    }


client = api(api_key=api_key, host="http://127.0.0.1:5000", ws_url=url)
started = time.monotonic()
connected = client.connect()
result = {"connected": connected, "connect_seconds": time.monotonic() - started}
if connected:
    play = {
        **{"modes": modes, "untraded": untraded, "orders": orders, "reconnect": reconnect},
        "resume": resume,
    }
    result.update(play[scenario](client))
client.disconnect()
json.dump(result, sys.stdout)
