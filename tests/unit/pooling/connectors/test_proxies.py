"""One rule says which proxy leads to a broker, for sockets and HTTP alike."""

from __future__ import annotations

import pytest

from brokers.exceptions import BrokerConfigError
from pooling.proxies import DIRECT, ProxyRules, proxy_passwords

ALL = {"all_proxy": "socks5h://gate:1080"}


def way(url: str, setting: str = "environment", **environ: str) -> str | None:
    proxy = ProxyRules(setting=setting, environ=environ).proxy_for(url)
    return proxy.url if proxy else None


@pytest.mark.parametrize("scheme", ["https", "wss", "http", "ws"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "127.9.9.9", "feed.localhost"]
)
@pytest.mark.parametrize("setting", ["environment", "http://gate:3128"])
def test_loopback_is_never_reached_through_a_proxy(scheme: str, host: str, setting: str) -> None:
    environ = {f"{name}_proxy": "http://gate:3128" for name in ("http", "https", "all")}
    assert way(f"{scheme}://{host}:9010/x", setting, **environ) is None


@pytest.mark.parametrize("secure", [("https", "wss"), ("http", "ws")])
@pytest.mark.parametrize(
    "environ",
    [
        {"https_proxy": "http://a:1", "http_proxy": "http://b:2"},
        {"HTTPS_PROXY": "http://a:1", "HTTP_PROXY": "http://b:2"},
        {"ALL_PROXY": "http://c:3"},
        {"all_proxy": "http://c:3", "no_proxy": "other.example"},
        {"all_proxy": "http://c:3", "no_proxy": "broker.example"},
        {"all_proxy": "http://c:3", "NO_PROXY": "*"},
        {"https_proxy": "http://a:1", "http_proxy": "http://b:2", "no_proxy": ".example"},
    ],
)
def test_sockets_take_the_same_way_as_http(
    secure: tuple[str, str], environ: dict[str, str]
) -> None:
    http, socket = secure
    assert way(f"{http}://broker.example/", **environ) == way(
        f"{socket}://broker.example/", **environ
    )


def test_the_variable_of_the_scheme_goes_before_the_one_for_all() -> None:
    assert way("wss://broker.example/", https_proxy="http://a:1", **ALL) == "http://a:1"
    assert way("wss://broker.example/", http_proxy="http://a:1", **ALL) == "socks5h://gate:1080"
    assert way("wss://broker.example/", http_proxy="http://a:1") is None


def test_lower_case_goes_before_upper_case_and_empty_counts_as_not_set() -> None:
    assert (
        way("wss://b.example/", https_proxy="http://a:1", HTTPS_PROXY="http://z:9") == "http://a:1"
    )
    assert way("wss://b.example/", https_proxy="", HTTPS_PROXY="http://z:9") == "http://z:9"


def test_a_proxy_without_a_scheme_is_an_http_one() -> None:
    assert way("wss://b.example/", https_proxy="gate:3128") == "http://gate:3128"


def test_none_and_one_proxy_for_all_leave_the_environment_aside() -> None:
    assert way("wss://b.example/", "none", **ALL) is None
    assert way("wss://b.example/", "http://own:1", **ALL, no_proxy="*") == "http://own:1"
    assert DIRECT.proxy_for("wss://b.example/") is None


@pytest.mark.parametrize(
    "value",
    ["ftp://gate:21", "http://", "http://gate:port", "http://gate:0", "http://[::1", "http://g/path",
     "http://user@gate:1", "http://gate:1?x=1", "socks4://gate:1"],
)  # fmt: skip
def test_an_unusable_proxy_is_one_sentence_that_names_its_source(value: str) -> None:
    with pytest.raises(
        BrokerConfigError, match=r"^HTTPS_PROXY names no proxy .* socks5h://host:port"
    ):
        way("wss://b.example/", HTTPS_PROXY=value)
    with pytest.raises(BrokerConfigError, match=r"^BROKER_PROXY names no proxy "):
        way("wss://b.example/", value)


def test_neither_text_of_a_proxy_shows_its_credential() -> None:
    rules = ProxyRules(setting="http://ann:planted-secret@[2001:db8::1]", environ={})
    proxy = rules.proxy_for("wss://b.example/")
    assert str(proxy) == "[2001:db8::1]:80 (BROKER_PROXY)"
    assert "planted" not in f"{proxy!r} {proxy}"
    environ = {"ALL_PROXY": "http://ann:planted-secret@gate:1", "http_proxy": "gate:1"}
    assert "planted-secret" in proxy_passwords("environment", environ)
    assert "planted" not in repr(ProxyRules(setting="environment", environ=environ))
    with pytest.raises(BrokerConfigError) as raised:
        ProxyRules(setting="ftp://ann:planted-secret@gate:1").proxy_for("wss://b.example/")
    assert "planted" not in str(raised.value)
