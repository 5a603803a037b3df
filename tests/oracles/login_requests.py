"""Log in with a broker's own client at a server of this script's, and report what it sent.

Argument: the broker. Stdin: ``{"given": {...}, "answers": {path: body}}``. Prints the requests as
the server saw them, the login page that the client names, and the tokens that it read.
"""

import contextlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked = json.load(sys.stdin)
given, answers = asked["given"], asked["answers"]
requests_seen = []


class Recorder(BaseHTTPRequestHandler):
    def answer(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        requests_seen.append(
            {
                "method": self.command,
                "path": path,
                "query": query,
                "headers": {name.title(): value for name, value in self.headers.items()},
                "content": content.decode(),
            }
        )
        body = json.dumps(answers[path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 -- the names that the base class asks for

    def log_message(self, *_):
        pass


def zerodha(url):
    from kiteconnect import KiteConnect

    client = KiteConnect(api_key=given["api_key"], root=url)
    session = client.generate_session(given["code"], given["api_secret"])
    client.profile()
    return client.login_url(), session["access_token"], session["user_id"]


def angel(url):
    import requests

    # The package asks a website for this machine's address while it is imported.
    requests.get = None
    from SmartApi.smartConnect import SmartConnect

    client = SmartConnect(api_key=given["api_key"], root=url)
    session = client.generateSession(given["client_code"], given["pin"], given["totp"])["data"]
    return client.login_url(), session["jwtToken"], session["feedToken"]


def upstox(url):
    import upstox_client

    configuration = upstox_client.Configuration()
    configuration.host = url
    login = upstox_client.LoginApi(upstox_client.ApiClient(configuration))
    names = {"client_id": given["client_id"], "redirect_uri": given["redirect_uri"]}
    login.authorize(api_version="2.0", state=given["state"], **names)
    answer = login.token(
        api_version="2.0",
        code=given["code"],
        client_secret=given["client_secret"],
        grant_type="authorization_code",
        **names,
    )
    configuration.access_token = answer.access_token
    upstox_client.UserApi(upstox_client.ApiClient(configuration)).get_profile(api_version="2.0")
    return "", answer.access_token, answer.user_id


def dhan(url):
    import webbrowser

    from dhanhq.auth import DhanLogin

    pages = []
    webbrowser.open = pages.append
    DhanLogin.AUTH_BASE_URL, DhanLogin.API_BASE_URL = url, f"{url}/v2"
    client = DhanLogin(given["client_id"])
    client.generate_token(given["pin"], given["totp"])
    client.generate_login_session(given["app_id"], given["app_secret"])
    answer = client.consume_token_id(given["code"], given["app_id"], given["app_secret"])
    client.user_profile(answer["accessToken"])
    return pages[0].replace(url, ""), answer["accessToken"], answer["dhanClientId"]


def fyers(url):
    from fyers_apiv3 import fyersModel

    fyersModel.Config.API = f"{url}/api/v3"
    session = fyersModel.SessionModel(
        client_id=given["app_id"],
        secret_key=given["app_secret"],
        redirect_uri=given["redirect_uri"],
        state=given["state"],
        response_type="code",
        grant_type="authorization_code",
    )
    page = session.generate_authcode()
    session.set_token(given["code"])
    token = session.generate_token()["access_token"]
    profile = fyersModel.FyersModel(client_id=given["app_id"], token=token).get_profile()
    return page.replace(url, ""), token, profile["data"]["fy_id"]


CLIENTS = {each.__name__: each for each in (zerodha, angel, upstox, dhan, fyers)}

server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
threading.Thread(target=server.serve_forever, daemon=True).start()
with contextlib.redirect_stdout(sys.stderr):
    page, *read = CLIENTS[sys.argv[1]](f"http://127.0.0.1:{server.server_port}")
json.dump({"requests": requests_seen, "page": page, "read": read}, sys.stdout)
sys.stdout.flush()
os._exit(0)
