"""No credential survives in a line, and ordinary lines survive whole."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.logs.redaction import MAX_VALUES, REDACTED, Redactor

SECRET = "Zq7-Secret.Value"


@pytest.mark.parametrize(
    "line",
    [
        "GET /?api_key={}&mode=full HTTP/1.1",
        "GET /?mode=full&access_token={}",
        "wss://ws.example.com/?feedToken={}",
        "> Authorization: token abc:{}",
        "> authorization: {}",
        "headers {{'Authorization': 'Bearer {}', 'Host': 'x'}}",
        "[(b'authorization', b'Bearer {}')]",
        'TEXT \'{{"action":"authenticate","api_key":"{}"}}\' [90 bytes]',
        '"{{\\"apikey\\":\\"{}\\"}}"',
        '{{"a":{{"clientSecret" : "{}"}}}}',
        "('X-API-KEY', '{}')",
        "Cookie: theme=dark; sessionid={}",
        "postgresql://tick:{}@db.example.com/tickpool",
        "redis://:{}@127.0.0.1:6379/0",
        "password='{}' for user asha",
        "TOTP_SECRET={}",
        "MY_BROKER_API_SECRET: {}",
        "csrfmiddlewaretoken={}",
        "signature={}&timestamp=1",
        "basic {}",
        "webhook_secret={}",
        'WHERE "django_session"."session_key" = \'{}\'',
    ],
)
def test_what_looks_like_a_credential_is_taken_out(line: str) -> None:
    redacted = Redactor().redact(line.format(SECRET))
    assert SECRET not in redacted
    assert REDACTED in redacted


@pytest.mark.parametrize(
    "line",
    [
        "GET /brokers/upstox/callback/?code={}&state=S HTTP/1.1",
        "GET /brokers/fyers/callback/?s=ok&code=200&auth_code={}&state=S",
        "GET /login/?next=/brokers/upstox/callback/%3Fcode%3D{}%26state%3DS",
        "https://auth.example.com/login/consentApp-login?consentAppId={}",
        "GET /cb?tokenId={}",
        "https://kite.example.com/connect/login?api_key=x&v=3&redirect_params=state%3D{}",
        "code={}&client_id=u1&grant_type=authorization_code",
        "api_key=k&request_token=r&checksum={}",
        '{{"grant_type": "authorization_code", "appIdHash": "{}", "code": "c"}}',
        '{{"grant_type": "authorization_code", "appIdHash": "h", "code": "{}"}}',
        '"{{\\"grant_type\\":\\"authorization_code\\",\\"code\\":\\"{}\\"}}"',
        "<QueryDict: {{'code': ['{}'], 'state': ['S']}}>",
        "<QueryDict: {{'access_token': ['{}']}}>",
        "QueryParams('code={}&state=S')",
        "[('code', '{}'), ('state', 'S')]",
        "Code(value='x', code='{}')",
        "{{'consentAppId': '{}', 'consentAppStatus': 'GENERATED'}}",
        "LoginAttempt(state='{}')",
        "tokenId: {}",
        "app_id_hash={}",
        "/brokers/upstox/callback/?state={}",
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "mk404x", "onlyletters" * 3, "8412345", "aBcDeFgH"])
def test_what_one_login_is_done_with_is_taken_out(line: str, secret: str) -> None:
    if ("state" in line.partition("{}")[0][-12:]) and not any(map(str.isdigit, secret)):
        return  # states are long and random; words are those of pools
    if "Code(" in line and secret.islower() and secret.isalpha():
        return  # with nothing near that speaks of a login, a word is a word
    redacted = Redactor().redact(line.format(secret))
    assert secret not in redacted
    assert REDACTED in redacted


@pytest.mark.parametrize(
    "secret",
    ["0123456789abcdef" * 4, "gAAAAABn" + "x-_Y" * 20 + "==", "eyJhbGciOiJI.eyJzdWIiOi.c2lnbmF0"],
)
def test_keys_fernet_tokens_and_jwts_need_no_name(secret: str) -> None:
    assert Redactor().redact(f"got {secret}, why?") == f"got {REDACTED}, why?"


@pytest.mark.parametrize(
    "line",
    [
        "pool 12 started: broker zerodha, 3 connections of 3000 symbols, linger 5 s, revision 3",
        "NSE:INFY has broker_token=408065 and broker_token: 99",
        "the stored credential, encrypted with a key that is not in the key file",
        "api_key is missing: enter it in the admin",
        "KeyError('api_key')",
        "secret_key: None",
        "https://ws.example.com/path?mode=full",
        "max_tokens=5, tokens: 3",
        "sha256 " + "0123456789abcdef" * 4 + "0",
        "pool 7 needs a new credential: the broker refused the access token (HTTP 403)",
        "pool 7 needs a new credential: refused",
        "credentials: none is stored",
        "the access token: the broker refused it",
        "token: expired yesterday",
        "code: 404, state: live",
        "HTTP status code: 403",
        "the worker ended with exit code -9, code=1",
        "connection 7/1 was closed (error code 1006: abnormal), code=1006",
        'the broker says {"s":"error","code":-16,"message":"no"}',
        'the broker says {"status":false,"errorcode":"AB1050","message":"Invalid totp"}',
        'the broker says {"code": "UDAPI100057"}',
        '{"type":"error","code":"BROKER_AUTH_REQUIRED","message":"login needed"}',
        "Outcome(code=None, state='pending')",
        'pool {"state":"login needed","previous":"live"}, state=waiting for room',
        "GET /admin/pooling/brokeraccount/?state=live HTTP/1.1",
        "GET /admin/pooling/brokeraccount/?state=login+needed&o=1 HTTP/1.1",
        "GET /admin/pooling/brokeraccount/?state=never%20served HTTP/1.1",
        "state: ConnectionState.AUTH_REQUIRED",
        "error code: UDAPI100057",
        "country_code=IN, errorCode: DH-901",
        "basic authentication is not offered",
        "the bearer authorization is missing",
    ],
)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert Redactor().redact(line) == line


def test_learned_values_are_found_wherever_they_stand() -> None:
    """In clear, inside other words, and as URLs write them."""
    redactor = Redactor()
    redactor.learn(["p@ss/word+1", "p@ss/word+1 longer", "short"])
    assert redactor.redact("x p@ss/word+1 longer y") == f"x {REDACTED} y"
    assert redactor.redact("xp@ss/word+1y p%40ss%2Fword%2B1") == f"x{REDACTED}y {REDACTED}"
    assert redactor.redact("a short one") == "a short one"


@given(st.lists(st.text(min_size=6, max_size=40), max_size=5), st.text(max_size=40))
def test_no_learned_value_survives(values: list[str], around: str) -> None:
    redactor = Redactor()
    redactor.learn(values)
    for value in values:
        text = redactor.redact(around + value + around)
        assert value not in text or value in REDACTED


def test_the_values_are_bounded_and_the_newest_stay() -> None:
    redactor = Redactor()
    redactor.learn(f"value-{number:06}" for number in range(MAX_VALUES + 10))
    assert redactor.redact("value-000000") == "value-000000"
    assert redactor.redact(f"value-{MAX_VALUES + 9:06}") == REDACTED


@pytest.mark.parametrize(
    "part",
    [
        "a_",
        "a1",
        "token ",
        "x://",
        "basic ",
        " ",
        "'",
        'token="\\',
        "eyJaaaaaaaa.",
        "a.b-",
        "code=",
        "code=a1 ",
        "state: ",
        "&code=x",
        "token: the ",
        "('code',",
    ],
)
def test_no_line_makes_it_slow(part: str) -> None:
    """100 kB of what the patterns begin with; quadratic work would take minutes."""
    line = part * (100_000 // len(part))
    started = time.process_time()
    Redactor().redact(line)
    assert time.process_time() - started < 5
