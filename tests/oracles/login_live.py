"""Log in with a broker's own client at the local exchange's logins, as its user does.

Arguments: the broker, the URL in place of the broker's hosts. Stdin: the app's ``key``,
``secret`` and ``redirect``; the user's ``user``, ``pin`` and ``totp``. What the client opens in a
browser is filled in here. Prints what the client read: the owner, what opens the feed, and how
a second use of what works once was refused.
"""

import contextlib
import json
import os
import sys
import webbrowser
from urllib.parse import parse_qsl, urlsplit

import requests

broker, url = sys.argv[1:]
given = json.load(sys.stdin)
browser = requests.Session()


def fill_in(page):
    """Log in at a page of the broker's and return what it sends the browser back with."""
    parts = urlsplit(page)
    address = f"{url}{parts.path}?{parts.query}"
    assert browser.get(address).status_code == 200
    form = {name: given[name] for name in ("user", "pin", "totp")} | {"answer": "allow"}
    back = browser.post(address, data=form, allow_redirects=False)
    assert back.headers["Location"].startswith(given["redirect"]), back.text
    return dict(parse_qsl(urlsplit(back.headers["Location"]).query))


def refused(call, *arguments):
    try:
        return repr(call(*arguments))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def zerodha():
    from kiteconnect import KiteConnect

    client = KiteConnect(api_key=given["key"], root=url)
    code = fill_in(client.login_url())["request_token"]
    token = client.generate_session(code, given["secret"])["access_token"]
    client.set_access_token(token)
    owner = client.profile()["user_id"]
    other = KiteConnect(api_key=given["key"], root=url)
    again = refused(other.generate_session, code, given["secret"])
    return owner, {"access_token": token}, again


def angel():
    # The package asks a website for this machine's address while it is imported.
    requests.get = None
    from SmartApi.smartConnect import SmartConnect

    client = SmartConnect(api_key=given["key"], root=url)
    client.generateSession(given["user"], given["pin"], given["totp"])
    # A renewal gives all three tokens once more.
    renewed = client.generateToken(client.refresh_token)["data"]
    owner = client.getProfile(renewed["refreshToken"])["data"]["clientcode"]
    values = {"access_token": renewed["jwtToken"], "feed_token": renewed["feedToken"]}
    again = client.generateSession(given["user"], given["pin"], given["totp"])
    assert client.terminateSession(given["user"])["status"] is True
    return owner, values, again["message"]


def upstox():
    import upstox_client

    configuration = upstox_client.Configuration()
    configuration.host = url
    login = upstox_client.LoginApi(upstox_client.ApiClient(configuration))
    names = {"client_id": given["key"], "redirect_uri": given["redirect"]}
    page = requests.Request(
        "GET",
        f"{url}/v2/login/authorization/dialog",
        params={**names, "response_type": "code", "state": "s"},
    ).prepare()
    arguments = {
        "code": fill_in(page.url)["code"],
        "client_secret": given["secret"],
        "grant_type": "authorization_code",
        **names,
    }
    token = login.token(api_version="2.0", **arguments).access_token
    configuration.access_token = token
    users = upstox_client.UserApi(upstox_client.ApiClient(configuration))
    owner = users.get_profile(api_version="2.0").data.user_id
    again = refused(lambda: login.token(api_version="2.0", **arguments))
    return owner, {"access_token": token}, again


def dhan():
    from dhanhq.auth import DhanLogin

    DhanLogin.AUTH_BASE_URL, DhanLogin.API_BASE_URL = url, f"{url}/v2"
    came = []
    webbrowser.open = lambda page: came.append(fill_in(page))
    client = DhanLogin(given["user"])
    client.generate_login_session(given["key"], given["secret"])
    code = came[0]["tokenId"]
    token = client.consume_token_id(code, given["key"], given["secret"])["accessToken"]
    owner = client.user_profile(token)["dhanClientId"]
    again = refused(client.consume_token_id, code, given["key"], given["secret"])
    soon = client.generate_token(given["pin"], given["totp"])
    return owner, {"access_token": token}, f"{again} {soon['message']}"


def fyers():
    from fyers_apiv3 import fyersModel

    fyersModel.Config.API = f"{url}/api/v3"
    session = fyersModel.SessionModel(
        client_id=given["key"],
        secret_key=given["secret"],
        redirect_uri=given["redirect"],
        state="s",
        response_type="code",
        grant_type="authorization_code",
    )
    session.set_token(fill_in(session.generate_authcode())["auth_code"])
    token = session.generate_token()["access_token"]
    client = fyersModel.FyersModel(client_id=given["key"], token=token)
    owner = client.get_profile()["data"]["fy_id"]
    again = session.generate_token()
    return owner, {"access_token": token}, str(again["code"])


CLIENTS = {each.__name__: each for each in (zerodha, angel, upstox, dhan, fyers)}
with contextlib.redirect_stdout(sys.stderr):
    owner, values, again = CLIENTS[broker]()
json.dump({"owner": owner, "values": values, "again": again}, sys.stdout)
sys.stdout.flush()
os._exit(0)
