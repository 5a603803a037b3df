"""Every refusal of the brokers' logins, as their documents and their users tell of it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from brokers.times.json_web_token import claims_of
from tests.integration.simulator.login.kit import (
    APP,
    CALLBACK,
    PAGES,
    angel_headers,
    client_at,
    code_and_state,
)

BROWSER = ("zerodha", "upstox", "fyers", "dhan")
ALL = (*BROWSER, "angel")

# Broker -> status of the answer, and the place and value that name the refusal in it.
BAD_CODE: dict[str, tuple[int, str]] = {
    "zerodha": (403, "TokenException"),
    "upstox": (401, "UDAPI100057"),
    "fyers": (400, "-413"),
    "dhan": (400, "Invalid or expired tokenId"),
}
BAD_SECRET: dict[str, tuple[int, str]] = {
    "zerodha": (400, "InputException"),
    "upstox": (401, "UDAPI100016"),
    "fyers": (400, "-352"),
    "dhan": (400, "Invalid app_id or app_secret"),
}
BUSY: dict[str, tuple[int, str]] = {
    "zerodha": (429, "NetworkException"),
    "angel": (403, "Access denied because of exceeding access rate"),
    "upstox": (429, "UDAPI10005"),
    "dhan": (200, "2 minutes"),
    "fyers": (429, "-429"),
}
NIGHT: dict[str, tuple[int, str]] = {
    "zerodha": (503, "NetworkException"),
    "angel": (200, "AB1004"),
    "upstox": (503, "UDAPI100074"),
    "dhan": (503, "night"),
    "fyers": (503, "-500"),
}
ENDED: dict[str, tuple[int, str]] = {
    "zerodha": (403, "TokenException"),
    "angel": (200, "AG8001"),
    "upstox": (401, "UDAPI100050"),
    "dhan": (401, "DH-901"),
    "fyers": (401, "-8"),
}


def says(response: httpx2.Response, expected: tuple[int, str]) -> None:
    assert (response.status_code, expected[1] in response.text) == (expected[0], True), (
        response.text
    )


@pytest.mark.parametrize("broker", BROWSER)
async def test_a_code_works_once(broker: str):
    async with client_at(broker) as client:
        code = await client.code()
        assert (await client.exchange(code)).status_code == 200
        says(await client.exchange(code), BAD_CODE[broker])
        assert client.desk.codes.replayed == 1


@pytest.mark.parametrize("broker", BROWSER)
async def test_a_code_that_comes_late_is_refused(broker: str):
    async with client_at(broker) as client:
        code = await client.code()
        client.desk.advance_clock(300)
        says(await client.exchange(code), BAD_CODE[broker])
        assert (client.desk.codes.late, client.desk.codes.replayed) == (1, 0)


@pytest.mark.parametrize("broker", BROWSER)
async def test_a_wrong_secret_uses_the_code_up(broker: str):
    async with client_at(broker) as client:
        code = await client.code()
        says(await client.exchange(code, "another"), BAD_SECRET[broker])
        says(await client.exchange(code), BAD_CODE[broker])


async def test_upstox_wants_the_redirect_and_grant_that_the_code_is_for():
    async with client_at("upstox") as client:
        elsewhere = await client.exchange(await client.code(), redirect_uri=CALLBACK + "x")
        says(elsewhere, BAD_CODE["upstox"])
        says(
            await client.exchange(await client.code(), grant_type="refresh_token"),
            (400, "UDAPI100038"),
        )


@pytest.mark.parametrize("broker", ALL)
async def test_too_many_requests_are_refused_in_the_brokers_way(broker: str):
    async with client_at(broker) as client:
        code = "" if broker == "angel" else await client.code()
        client.desk.meet("busy")
        answer = await (client.by_pin() if broker == "angel" else client.exchange(code))
        says(answer, BUSY[broker])


@pytest.mark.parametrize("broker", ALL)
async def test_at_night_nobody_is_served(broker: str):
    async with client_at(broker) as client:
        code = "" if broker == "angel" else await client.code()
        client.desk.meet("night")
        answer = await (client.by_pin() if broker == "angel" else client.exchange(code))
        says(answer, NIGHT[broker])


@pytest.mark.parametrize("broker", ALL)
async def test_nobody_is_refused_for_the_hour_of_the_day(broker: str):
    """What is tried at any time must not depend on when that is."""
    async with client_at(broker) as client:
        for hour in (1, 5, 23):
            client.desk.move_clock_to(hour, 15)
            assert (await client.profile(await client.token())).status_code == 200


@pytest.mark.parametrize(
    ("broker", "lasts_to", "ends_at"),
    [
        ("zerodha", (5, 59), (6, 0)),
        ("upstox", (3, 29), (3, 30)),
        ("angel", (4, 59), (5, 0)),
    ],
)
async def test_a_token_ends_at_its_hour(
    broker: str, lasts_to: tuple[int, int], ends_at: tuple[int, int]
):
    async with client_at(broker) as client:
        token = await client.token()
        client.desk.move_clock_to(*lasts_to)
        assert "SUCCESS" in (await client.profile(token)).text.upper()
        client.desk.move_clock_to(*ends_at)
        says(await client.profile(token), ENDED[broker])


@pytest.mark.parametrize(("broker", "seconds"), [("dhan", 86_400), ("fyers", 64_800)])
async def test_a_token_ends_when_it_says(broker: str, seconds: int):
    async with client_at(broker) as client:
        token = await client.token()
        client.desk.advance_clock(seconds - 1)
        assert (await client.profile(token)).status_code == 200
        client.desk.advance_clock(1)
        says(await client.profile(token), ENDED[broker])


@pytest.mark.parametrize("broker", ["zerodha", "upstox", "fyers"])
async def test_a_logout_ends_its_token_only(broker: str):
    async with client_at(broker) as client:
        token = await client.token()
        other = await client.token()
        assert (await client.logout(token)).status_code == 200
        says(await client.profile(token), ENDED[broker])
        assert (await client.profile(other)).status_code == 200
        says(await client.logout(token), ENDED[broker])


@pytest.mark.parametrize("broker", BROWSER)
async def test_who_declines_brings_no_code(broker: str):
    async with client_at(broker) as client:
        back = code_and_state(await client.fill_in(answer="deny"))
    assert PAGES[broker][2] not in back
    expected: dict[str, Any] = {
        "zerodha": {"status": "cancelled"},  # and none of what was to come back
        "upstox": {"state": "state-1"},
        "dhan": {"status": "cancelled"},
    }
    if broker == "fyers":
        assert (back["s"], back["state"]) == ("error", "state-1")
    else:
        assert back == expected[broker]


@pytest.mark.parametrize("broker", ["upstox", "fyers"])
async def test_a_wrong_redirect_leads_nowhere(broker: str):
    async with client_at(broker) as client:
        query = PAGES[broker][1] | {"redirect_uri": "https://elsewhere.example/"}
        answer = await client.fill_in(query=query)
    assert answer.status_code == 400
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    "redirect",
    ["http://pool.example/cb", "https://localhost/cb", "https://127.0.0.1/cb", "https://[::1]/cb"],
)
async def test_angel_sends_nobody_back_to_this_machine(redirect: str):
    async with client_at("angel") as client:
        client.desk.register(redirect)
        answer = await client.fill_in()
    assert answer.status_code == 400
    assert "Invalid redirect URI" in answer.text


async def test_angels_publisher_login_brings_both_tokens():
    async with client_at("angel") as client:
        back = code_and_state(await client.fill_in())
        assert back.keys() == {"auth_token", "feed_token", "state"}
        assert (await client.profile(back["auth_token"])).json()["status"] is True
        says(await client.profile(back["feed_token"]), ENDED["angel"])


async def test_angels_page_is_for_keys_of_publishers():
    async with client_at("angel") as client:
        client.desk.set_publisher(False)  # type: ignore[attr-defined]
        assert (await client.fill_in()).status_code == 403
        assert (await client.by_pin()).json()["status"] is True


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"totp": "000000"}, "AB1050"),
        ({"password": "0000"}, "AB1007"),
        ({"password": "a-web-password"}, "AB7001"),
        ({"totp": ""}, "AB7001"),
        ({"key": "another"}, "AB1034"),
    ],
)
async def test_angel_refuses_with_http_200(changed: dict[str, Any], code: str):
    async with client_at("angel") as client:
        answer = await client.by_pin(**changed)
    says(answer, (200, code))
    assert answer.json()["status"] is False


async def test_angel_renews_within_the_day_and_once():
    async with client_at("angel") as client:
        tokens = (await client.by_pin()).json()["data"]
        path = "/rest/auth/angelbroking/jwt/v1/generateTokens"

        async def renew(jwt: str) -> httpx2.Response:
            headers = {"Authorization": f"Bearer {jwt}"}
            body = {"refreshToken": tokens["refreshToken"]}
            return await client.send("POST", path, json=body, headers=headers)

        renewed = (await renew(tokens["jwtToken"])).json()["data"]
        assert (await client.profile(renewed["jwtToken"])).json()["status"] is True
        assert (await renew(tokens["jwtToken"])).json()["status"] is False
        tokens = renewed
        client.desk.move_clock_to(5, 0)
        assert (await renew(tokens["jwtToken"])).json()["status"] is False


@pytest.mark.parametrize(
    ("changed", "text"), [({"pin": "000000"}, "Invalid Pin"), ({"totp": "000000"}, "Invalid TOTP")]
)
async def test_dhan_refuses_with_http_200(changed: dict[str, Any], text: str):
    async with client_at("dhan") as client:
        answer = await client.by_pin(**changed)
    says(answer, (200, text))
    assert answer.json()["status"] == "error"


async def test_dhan_has_one_token_at_a_time_and_one_in_two_minutes():
    async with client_at("dhan") as client:
        first = (await client.by_pin()).json()["accessToken"]
        says(await client.by_pin(), BUSY["dhan"])
        client.desk.advance_clock(120)
        second = (await client.by_pin()).json()["accessToken"]
        says(await client.profile(first), ENDED["dhan"])
        assert (await client.profile(second)).status_code == 200


async def test_dhan_renews_tokens_of_its_site_only():
    async with client_at("dhan") as client:
        user = client.desk.people[0].user_id

        async def renew(token: str, method: str = "GET") -> httpx2.Response:
            headers = {"access-token": token, "dhanClientId": user}
            return await client.send(method, "/v2/RenewToken", headers=headers)

        made = (await client.by_pin()).json()["accessToken"]
        says(await renew(made), (400, "DH-905"))
        token = client.desk.make_web_token(user)  # type: ignore[attr-defined]
        says(await renew(token, "POST"), (400, "DH-905"))
        renewed = (await renew(token)).json()["accessToken"]
        assert (await client.profile(renewed)).status_code == 200
        says(await renew(token), ENDED["dhan"])


async def test_dhan_knows_its_consents():
    async with client_at("dhan") as client:
        says(await client.consent(app_secret="x"), BAD_SECRET["dhan"])
        assert (await client.fill_in(query={"consentAppId": "x"})).status_code == 400
        for _ in range(25):
            assert (await client.consent()).status_code == 200
        assert (await client.consent()).status_code == 429
        client.desk.advance_clock(86_400)
        assert (await client.consent()).status_code == 200


async def test_nobody_renews_at_zerodha_and_fyers():
    async with client_at("zerodha") as client:
        form = {"api_key": APP.key, "refresh_token": "r", "checksum": "c"}
        says(
            await client.send("POST", "/session/refresh_token", data=form),
            (403, "PermissionException"),
        )
    async with client_at("fyers") as client:
        body = {"grant_type": "refresh_token", "appIdHash": "h", "refresh_token": "r", "pin": "1"}
        says(await client.send("POST", "/api/v3/validate-refresh-token", json=body), (400, "-501"))


async def test_zerodha_wants_its_scheme():
    async with client_at("zerodha") as client:
        token = await client.token()
        for value in (f"{APP.key}:{token}", f"Bearer {APP.key}:{token}", f"token x:{token}"):
            answer = await client.send("GET", "/user/profile", headers={"Authorization": value})
            says(answer, ENDED["zerodha"])


async def test_an_analytics_token_outlives_nights_logouts_and_ends_the_one_before():
    async with client_at("upstox") as client:
        user = client.desk.people[0].user_id
        make = client.desk.make_analytics_token  # type: ignore[attr-defined]
        first, second = make(user), make(user)
        path = "/v3/feed/market-data-feed/authorize"

        async def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return (await client.send("GET", path, headers=headers)).status_code

        assert (await status(first), await status(second)) == (401, 200)
        assert (await client.logout(await client.token())).status_code == 200
        client.desk.move_clock_to(3, 30)
        assert await status(second) == 200
        client.desk.advance_clock(365 * 86_400)
        assert await status(second) == 401


@pytest.mark.parametrize(
    ("fault", "state"), [("state dropped", None), ("state altered", "state-a"), ("", "state-1")]
)
@pytest.mark.parametrize("broker", ["zerodha", "upstox", "fyers"])
async def test_the_state_comes_back_as_asked_for(broker: str, fault: str, state: str | None):
    async with client_at(broker) as client:
        client.desk.meet(fault)
        assert code_and_state(await client.fill_in()).get("state") == state


@pytest.mark.parametrize("broker", ALL)
async def test_no_address_makes_a_header_of_its_own(broker: str):
    async with client_at(broker) as client:
        client.desk.register("")
        path, asked, _ = PAGES[broker]
        nasty = "https://x.example/\r\nX-Own: 1"
        query = asked | {"redirect_uri": nasty, "state": "s\r\nX-Own: 1"}
        answer = await client.send("POST", path, params=query, data={"answer": "deny"})
    assert "X-Own" not in answer.headers


PROFILES = {
    "zerodha": "/user/profile",
    "upstox": "/v2/user/profile",
    "fyers": "/api/v3/profile",
    "dhan": "/v2/profile",
    "angel": "/rest/secure/angelbroking/user/v1/getProfile",
}


@pytest.mark.parametrize("broker", ALL)
async def test_a_fault_may_be_of_another_request_than_the_one_for_a_token(broker: str):
    async with client_at(broker) as client:
        client.desk.meet("busy", PROFILES[broker])
        token = await client.token()
        says(await client.profile(token), BUSY[broker])
        assert (await client.profile(token)).status_code == 200


@pytest.mark.parametrize("broker", BROWSER)
async def test_a_connection_is_cut_after_the_code_was_used(broker: str):
    async with client_at(broker) as client:
        code = await client.code()
        client.desk.meet("cut")
        with pytest.raises(httpx2.TransportError):
            await client.exchange(code)
        says(await client.exchange(code), BAD_CODE[broker])


@pytest.mark.parametrize("broker", BROWSER)
async def test_an_answer_may_be_a_page_or_too_large_or_down(broker: str):
    async with client_at(broker) as client:
        client.desk.meet("html")
        answer = await client.exchange("x")
        assert (answer.status_code, answer.headers["Content-Type"]) == (
            200,
            "text/html; charset=utf-8",
        )
        client.desk.meet("large")
        assert len((await client.exchange("x")).content) == 1024 * 1024
        client.desk.meet("down")
        assert (await client.exchange("x")).status_code == 502


async def test_a_request_hangs_until_the_client_has_enough():
    async with client_at("zerodha") as client:
        client.desk.meet("hang")
        client.http.timeout = httpx2.Timeout(30, read=0.3)
        with pytest.raises(httpx2.ReadTimeout):
            await client.exchange("x")


@pytest.mark.parametrize("broker", ALL)
async def test_somebody_else_comes_back(broker: str):
    async with client_at(broker) as client:
        client.desk.meet("other owner")
        token = await client.token()
        said = (await client.profile(token)).text
    assert all(each.user_id not in said for each in client.desk.people)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"pin": "x"}, "This user or PIN is not known."),
        ({"user": "<b>nobody"}, "This user or PIN is not known."),
        ({"totp": "000000"}, "Wrong or used code."),
        ({"totp": "\u0661"}, "Wrong or used code."),
    ],
)
@pytest.mark.parametrize("broker", ["zerodha", "upstox", "fyers", "angel"])
async def test_the_page_says_what_is_wrong(broker: str, wrong: dict[str, str], sentence: str):
    async with client_at(broker) as client:
        person = client.desk.people[0]
        form = {
            "user": person.user_id,
            "pin": person.pin,
            "totp": client.desk.totp(person.user_id),
            "answer": "allow",
        }
        path, query, _ = PAGES[broker]
        page = await client.send("POST", path, params=query, data=form | wrong)
    assert page.status_code == 200
    assert sentence in page.text
    assert "<b>" not in page.text


async def test_angel_serves_so_many_logins_a_minute():
    async with client_at("angel") as client:
        for _ in range(5):
            says(await client.by_pin(totp="000000"), (200, "AB1050"))
            client.clock.is_fresh = True  # at once
        says(await client.by_pin(), BUSY["angel"])
        client.desk.advance_clock(60)
        client.clock.is_fresh = True
        assert (await client.by_pin()).json()["status"] is True


async def test_angels_tokens_work_on_after_a_logout():
    async with client_at("angel") as client:
        token = await client.token()
        path = "/rest/secure/angelbroking/user/v1/logout"
        body = {"clientcode": client.desk.people[0].user_id}
        for bearer, is_taken in ((token, True), ("x", False)):
            headers = angel_headers() | {"Authorization": f"Bearer {bearer}"}
            answer = await client.send("POST", path, json=body, headers=headers)
            assert ("SUCCESS" in answer.text) is is_taken
        assert (await client.profile(token)).json()["status"] is True


async def test_dhans_consent_is_consumed_by_either_verb():
    async with client_at("dhan") as client:
        headers = {"app_id": APP.key, "app_secret": APP.secret}
        query = {"tokenId": await client.code()}
        answer = await client.send("POST", "/app/consumeApp-consent", params=query, headers=headers)
        granted = answer.json()
        token = granted["accessToken"]
        claims = claims_of(token)
        assert (claims["iss"], claims["dhanClientId"]) == ("dhan", granted["dhanClientId"])
        profile = (await client.profile(token)).json()
        assert profile["dataPlan"] == "Active"
        client.desk.set_data_plan("Deactive")  # type: ignore[attr-defined]
        assert (await client.profile(token)).json()["dataPlan"] == "Deactive"


@pytest.mark.parametrize("broker", ["fyers", "angel", "dhan"])
async def test_a_token_says_when_it_ends(broker: str):
    async with client_at(broker) as client:
        token = await client.token()
        end = float(claims_of(token)["exp"])
        client.desk.advance_clock(end - client.desk.now() - 1)
        assert "invalid" not in (await client.profile(token)).text.lower()
        client.desk.advance_clock(1)
        says(await client.profile(token), ENDED[broker])


async def test_zerodhas_token_says_nothing():
    async with client_at("zerodha") as client:
        assert not claims_of(await client.token())
