"""The brokers' own clients send the requests of a login that we send, and read the same answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from brokers.login.contract import BrokerLogin, Granted, LoginRequest
from brokers.registry import login_of
from tests.fix_oracles import RunOracle
from tests.unit.brokers.login.login_kit import jwt

pytestmark = pytest.mark.oracle

BASE = "http://broker.test"
CALLBACK = "https://127.0.0.1:8000/cb"
# What a connection or a library says of itself, and what our HTTP client adds.
OF_THE_WIRE = {"User-Agent", "Accept-Encoding", "Connection", "Host", "Content-Length"}


def login(broker: str) -> BrokerLogin:
    found = login_of(broker, BASE)
    assert found is not None
    return found


def fields_of(content: str, headers: Mapping[str, str]) -> Any:
    """Return a body as what it means, whatever order and spelling it has."""
    kind = headers.get("Content-Type", "")
    if not content:
        return None
    return json.loads(content) if "json" in kind else sorted(parse_qsl(content))


def sent(request: LoginRequest) -> dict[str, Any]:
    parts = urlsplit(request.url)
    assert f"{parts.scheme}://{parts.netloc}" == BASE
    headers = {name.title(): value for name, value in request.headers.items()}
    content = request.content.decode()
    return {
        "method": request.method,
        "path": parts.path,
        "query": sorted(parse_qsl(parts.query, strict_parsing=bool(parts.query))),
        "headers": headers,
        "body": fields_of(content, headers),
    }


def seen(request: dict[str, Any]) -> dict[str, Any]:
    headers = {name: value for name, value in request["headers"].items() if name not in OF_THE_WIRE}
    return {
        "method": request["method"],
        "path": request["path"],
        "query": sorted(parse_qsl(request["query"])),
        "headers": headers,
        "body": fields_of(request["content"], headers),
    }


def assert_alike(
    ours: LoginRequest, theirs: dict[str, Any], *, drop: set[str], add: set[str] | None = None
) -> None:
    """Compare two requests, but for headers that the client sends to no purpose (``drop``).

    Args:
        add: headers of ours that say nothing else than the client's absence of them.
    """
    mine, other = sent(ours), seen(theirs)
    for name in drop:
        other["headers"].pop(name, None)
    for name in add or set():
        mine["headers"].pop(name)
    # A body that is none has no type, though some clients name one.
    for each in (mine, other):
        if each["body"] in (None, {}):
            each["headers"].pop("Content-Type", None)
            each["body"] = None
    kinds = [each["headers"].pop("Content-Type", "").partition(";")[0] for each in (mine, other)]
    assert kinds[0] == kinds[1]
    assert mine == other


def body(said: object) -> bytes:
    return json.dumps(said).encode()


def granted(result: object) -> Granted:
    assert isinstance(result, Granted), result
    return result


async def test_zerodhas_client_sends_and_reads_the_same(run_oracle: RunOracle) -> None:
    kept = {"api_key": "kitekey0001", "api_secret": "kitesecret0001"}
    data = {"user_id": "AB1234", "access_token": "acc-1", "api_key": "kitekey0001"}
    answer = {"status": "success", "data": {**data, "login_time": "2026-11-30 08:52:01"}}
    told = await run_oracle(
        "login_requests.py",
        "zerodha",
        given={
            "given": {**kept, "code": "reqtok0001"},
            "answers": {"/session/token": answer, "/user/profile": answer},
        },
    )
    of = login("zerodha")
    exchange, profile = told["requests"]
    # It says nothing of what it accepts but "anything".
    drop, add = {"Accept"}, {"Accept"}
    assert_alike(of.exchange(kept, "reqtok0001", CALLBACK), exchange, drop=drop, add=add)
    result = granted(of.answer(kept, 200, {}, body(answer)))
    assert told["read"] == [result.values["access_token"], result.owner]
    assert_alike(of.probe(result), profile, drop=drop, add=add)
    own = login_of("zerodha")
    assert own is not None
    assert told["page"] == own.page(kept, state="", redirect_uri=CALLBACK)


async def test_angels_client_sends_and_reads_the_same(run_broker_oracle: RunOracle) -> None:
    kept = {"api_key": "angelkey1", "client_code": "A12345", "pin": "1234"}
    token = jwt(username="A12345", exp=1_796_100_000)
    tokens = {"jwtToken": token, "refreshToken": "r-1", "feedToken": "f-1"}
    answer = {"status": True, "message": "SUCCESS", "errorcode": "", "data": tokens}
    profile = {"status": True, "message": "SUCCESS", "data": {"clientcode": "A12345"}}
    of = login("angel")
    ours = of.unattended(kept, "123456")
    probe_path = "/rest/secure/angelbroking/user/v1/getProfile"
    told = await run_broker_oracle(
        "login_requests.py",
        "angel",
        given={
            "given": {**kept, "totp": "123456"},
            "answers": {urlsplit(ours.url).path: answer, probe_path: profile},
        },
    )
    first, second = told["requests"]
    # The hardware address is the machine's own there, and nobody's here.
    names = {name.title() for name in ours.headers}
    assert first["headers"].keys() - OF_THE_WIRE == names
    same = {"X-Macaddress"}
    assert_alike(ours, first, drop=same, add=same)
    result = granted(of.answer(kept, 200, {}, body(answer)))
    assert told["read"] == [result.values["access_token"], result.values["feed_token"]]
    # It sends the refresh token as a JSON text in the query of a GET, which is not needed.
    assert "refreshToken" in second["query"]
    assert_alike(of.probe(result), {**second, "query": ""}, drop=same, add=same)
    assert granted(of.probed(result, 200, {}, body(profile))).owner == "A12345"
    own = login_of("angel")
    assert own is not None
    assert told["page"] == own.page(kept, state="", redirect_uri=CALLBACK)


async def test_upstoxs_client_sends_and_reads_the_same(run_broker_oracle: RunOracle) -> None:
    kept = {"client_id": "uclient-0001", "client_secret": "usecret1"}
    answer = {"user_id": "AB1234", "access_token": "opaque-1", "is_active": True}
    profile = {"status": "success", "data": {"user_id": "AB1234"}}
    of = login("upstox")
    page = of.page(kept, state="st-1", redirect_uri=CALLBACK)
    told = await run_broker_oracle(
        "login_requests.py",
        "upstox",
        given={
            "given": {**kept, "code": "uc0de1", "state": "st-1", "redirect_uri": CALLBACK},
            "answers": {
                "/v2/login/authorization/dialog": {},
                "/v2/login/authorization/token": answer,
                "/v2/user/profile": profile,
            },
        },
    )
    dialog, exchange, probe = told["requests"]
    # The documents ask for ``response_type``, which the client leaves out, and for no version.
    assert dialog["path"] == urlsplit(page).path
    ours = dict(parse_qsl(urlsplit(page).query))
    assert ours.pop("response_type") == "code"
    assert ours == dict(parse_qsl(dialog["query"]))
    drop = {"Api-Version", "X-Upstox-Sdk-Language", "X-Upstox-Sdk-Version"}
    assert_alike(of.exchange(kept, "uc0de1", CALLBACK), exchange, drop=drop)
    result = granted(of.answer(kept, 200, {}, body(answer)))
    assert told["read"] == [result.values["access_token"], result.owner]
    assert_alike(of.probe(result), probe, drop=drop)
    assert granted(of.probed(result, 200, {}, body(profile))).owner == "AB1234"


async def test_dhans_client_sends_and_reads_the_same(run_broker_oracle: RunOracle) -> None:
    kept = {
        "client_id": "1000000001",
        "pin": "123456",
        "app_id": "dapp0001",
        "app_secret": "dsecret1",
    }
    answer = {"dhanClientId": "1000000001", "accessToken": jwt(exp=1_796_100_000)}
    consent = {"status": "success", "consentAppId": "c-1", "consentAppStatus": "GENERATED"}
    profile = {"dhanClientId": "1000000001", "dataPlan": "Active"}
    told = await run_broker_oracle(
        "login_requests.py",
        "dhan",
        given={
            "given": {**kept, "totp": "654321", "code": "tok-id-1"},
            "answers": {
                "/app/generateAccessToken": answer,
                "/app/generate-consent": consent,
                "/app/consumeApp-consent": answer,
                "/v2/profile": profile,
            },
        },
    )
    of = login("dhan")
    by_pin, prepare, exchange, probe = told["requests"]
    drop, add = {"Accept"}, {"Accept"}
    assert_alike(of.unattended(kept, "654321"), by_pin, drop=drop, add=add)
    prepared = of.prepare(kept, CALLBACK)
    assert prepared is not None
    assert_alike(prepared, prepare, drop=drop, add=add)
    name = of.prepared(200, {}, body(consent))
    assert isinstance(name, str)
    page = of.page(kept, state="", redirect_uri=CALLBACK, prepared=name)
    assert told["page"] == page.removeprefix(BASE)
    assert_alike(of.exchange(kept, "tok-id-1", CALLBACK), exchange, drop=drop, add=add)
    result = granted(of.answer(kept, 200, {}, body(answer)))
    assert told["read"] == [result.values["access_token"], result.owner]
    assert_alike(of.probe(result), probe, drop=drop, add=add)


async def test_fyers_client_sends_and_reads_the_same(run_broker_oracle: RunOracle) -> None:
    kept = {"app_id": "FYAPP0001-100", "app_secret": "FYSECRET01"}
    token = jwt(fy_id="XA00001", hsm_key="k", exp=1_796_100_000)
    answer = {"s": "ok", "code": 200, "message": "", "access_token": token}
    profile = {"s": "ok", "code": 200, "data": {"fy_id": "XA00001"}}
    told = await run_broker_oracle(
        "login_requests.py",
        "fyers",
        given={
            "given": {**kept, "code": "fyauthcode1", "state": "st-1", "redirect_uri": CALLBACK},
            "answers": {"/api/v3/validate-authcode": answer, "/api/v3/profile": profile},
        },
    )
    of = login("fyers")
    exchange, probe = told["requests"]
    drop, add = {"Accept"}, {"Accept"}
    assert_alike(of.exchange(kept, "fyauthcode1", CALLBACK), exchange, drop=drop, add=add)
    result = granted(of.answer(kept, 200, {}, body(answer)))
    assert result.values["access_token"] == f"FYAPP0001-100:{told['read'][0]}"
    assert_alike(of.probe(result), probe, drop=drop, add=add)
    assert granted(of.probed(result, 200, {}, body(profile))).owner == told["read"][1]
    page = of.page(kept, state="st-1", redirect_uri=CALLBACK)
    assert told["page"] == page.removeprefix(BASE)
