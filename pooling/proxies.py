"""Proxies on the way to brokers: one rule for sockets and HTTP alike. Pure.

The libraries below read the environment each in its own way (``websockets`` does not know
``ALL_PROXY``, ``httpx2`` does; neither leaves out all of loopback), so that one broker would be
reached on two ways. Here it is decided once, and both are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # in no stub

from brokers.endpoints.addresses import is_loopback, netloc
from brokers.exceptions import BrokerConfigError

__all__ = [
    "DIRECT",
    "ENVIRONMENT",
    "NONE",
    "Proxy",
    "ProxyRules",
    "proxy_passwords",
]

SETTING = "BROKER_PROXY"
ENVIRONMENT = "environment"
NONE = "none"
SCHEMES = ("http", "https", "socks5", "socks5h")
# The first that is set wins, as in curl: the variable of the scheme, then the one for all.
_VARIABLES = {
    "https": ("https_proxy", "all_proxy"),
    "wss": ("https_proxy", "all_proxy"),
    "http": ("http_proxy", "all_proxy"),
    "ws": ("http_proxy", "all_proxy"),
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy. Only ``url`` holds the credential that it may need; neither repr nor str does.

    ``source`` is the variable or setting that names it.
    """

    url: str = field(repr=False)
    source: str

    @property
    def address(self) -> str:
        """The proxy as ``host:port``, safe to show."""
        parts = urlsplit(self.url)
        return netloc(parts.hostname or "", parts.port or _default_port(parts.scheme))

    def __str__(self) -> str:
        return f"{self.address} ({self.source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRules:
    """The rules that say which proxy leads to a URL.

    ``setting`` is ``environment`` (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``
    in ``environ``, in either case), ``none``, or the URL of one proxy for everything. Loopback is
    never reached through a proxy, whatever is set.
    """

    setting: str = field(default=NONE, repr=False)
    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def proxy_for(self, url: str) -> Proxy | None:
        """Return the proxy for ``url`` (http, https, ws or wss); None: the direct way.

        Raises:
            BrokerConfigError: the value that applies names no proxy; says which and what to write.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self.setting == NONE or is_loopback(host):
            return None
        if self.setting != ENVIRONMENT:
            return _proxy(self.setting, SETTING)
        if proxy_bypass_environment(netloc(host, parts.port), {"no": self._read("no_proxy")[1]}):
            return None
        for variable in _VARIABLES.get(parts.scheme, ()):
            name, value = self._read(variable)
            if value:
                return _proxy(value, name)
        return None

    def _read(self, variable: str) -> tuple[str, str]:
        """Return the name under which a variable is set, and its value; lower case goes first."""
        for name in (variable, variable.upper()):
            if value := self.environ.get(name, "").strip():
                return name, value
        return variable.upper(), ""


DIRECT = ProxyRules()


def proxy_passwords(setting: str, environ: Mapping[str, str]) -> list[str]:
    """Return the passwords in whatever may name a proxy, for a log filter to learn."""
    names = {variable for variables in _VARIABLES.values() for variable in variables}
    values = [setting, *(environ.get(each, "") for name in names for each in (name, name.upper()))]
    found = []
    for value in values:
        try:
            found.append(urlsplit(value if "://" in value else f"http://{value}").password or "")
        except ValueError:  # brackets that do not close
            found.append(value)
    return found


def _proxy(value: str, source: str) -> Proxy:
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        usable = bool(parts.scheme in SCHEMES and parts.hostname and parts.port != 0)
    except ValueError:  # a port that is no number, brackets that do not close
        usable = False
    else:
        usable = usable and parts.path in ("", "/") and not (parts.query or parts.fragment)
        usable = usable and (parts.username is None) == (parts.password is None)
    if not usable:
        raise BrokerConfigError(
            f"{source} names no proxy that can be used: write http://host:port, https://host:port "
            "or socks5h://host:port, with user:password@ before the host where it asks for them"
        )
    return Proxy(url.rstrip("/"), source)


def _default_port(scheme: str) -> int:
    return {"http": 80, "https": 443}.get(scheme, 1080)
