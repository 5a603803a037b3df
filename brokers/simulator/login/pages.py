"""Pages of the local exchange's logins: plain forms that need no script. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

__all__ = ["front_page", "login_page", "message_page"]

# ruff: noqa: E501 -- a style sheet
_STYLE = """
:root{color-scheme:light dark}
body{margin:0;font:15px/1.5 system-ui,sans-serif;background:light-dark(#eef1f5,#0f141a);color:light-dark(#1b2430,#dfe6ee)}
main{box-sizing:border-box;width:min(420px,calc(100% - 32px));margin:9vh auto;padding:24px;background:light-dark(#fff,#19212b);border-radius:10px}
h1{margin:0 0 4px;font-size:20px}p{margin:0 0 14px}.quiet{opacity:.75;font-size:13px}
label{display:block;margin-top:10px;font-weight:600}
input{box-sizing:border-box;width:100%;padding:8px 10px;font:inherit;border:1px solid #8894a4;border-radius:5px;background:transparent;color:inherit}
button{margin:18px 8px 0 0;padding:9px 16px;font:inherit;font-weight:600;border:1px solid #8894a4;border-radius:5px;background:transparent;color:inherit;cursor:pointer}
button[value=allow]{color:#fff;background:#1d5fa8;border-color:#1d5fa8}.error{color:light-dark(#b3261e,#f0807a)}
table{border-collapse:collapse;width:100%;font-size:13px}td,th{padding:4px 8px 4px 0;text-align:left}code{font-size:13px;white-space:nowrap}
main.wide{width:min(760px,calc(100% - 32px))}.scroll{overflow-x:auto}h1+.scroll,.scroll+h1{margin-top:14px}
a{color:light-dark(#1d5fa8,#8ab8f0)}
"""


def _page(title: str, body: str, *, main: str = "<main>", head: str = "") -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"{head}</head><body>{main}{body}</main></body></html>"
    )


def login_page(broker: str, carried: Mapping[str, str], *, error: str = "", user: str = "") -> str:
    """Return the form in which somebody logs in and allows the app.

    Args:
        broker: as people call it.
        carried: goes along in hidden fields.
        error: what was wrong with the last try.
        user: who tried.
    """
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in carried.items()
    )
    wrong = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    return _page(
        f"{broker} (local exchange)",
        f"<h1>{escape(broker)}</h1><p class=quiet>The local exchange's login page. Here is "
        f'<a href="/" target="_blank">who may log in, with PINs and codes</a>.</p>{wrong}'
        f'<form method="post">{hidden}'
        '<label for="user">User</label><input id="user" name="user" '
        f'value="{escape(user)}" autocomplete="off" required autofocus>'
        '<label for="pin">PIN</label><input id="pin" name="pin" type="password" autocomplete="off" required>'
        '<label for="totp">Code of the second factor</label>'
        '<input id="totp" name="totp" inputmode="numeric" required>'
        '<button name="answer" value="allow">Allow</button>'
        '<button name="answer" value="deny" formnovalidate>Deny</button></form>',
    )


def message_page(broker: str, words: str) -> str:
    """Return a page that leads nowhere."""
    return _page(broker, f'<h1>{escape(broker)}</h1><p class="error">{escape(words)}</p>')


def front_page(
    broker: str, people: Iterable[tuple[str, str, str, str]], app: Mapping[str, str]
) -> str:
    """Return who may log in, with PIN, secret and present code, and the app."""
    rows = "".join(
        "<tr>" + "".join(f"<td><code>{escape(each)}</code></td>" for each in person) + "</tr>"
        for person in people
    )
    fields = "".join(
        f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>"
        for name, value in app.items()
    )
    return _page(
        f"{broker} (local exchange)",
        f"<h1>{escape(broker)}, played by the local exchange</h1>"
        "<p class=quiet>Nothing here opens anything elsewhere. The page reads itself again every "
        f"5 s.</p><div class=scroll><table>{fields}</table></div><h1>People</h1>"
        f"<div class=scroll><table><tr><th>User</th><th>PIN</th><th>TOTP secret</th><th>Code now</th></tr>{rows}</table></div>",
        main='<main class="wide">',
        head='<meta http-equiv="refresh" content="5">',
    )
