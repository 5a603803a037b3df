"""``REDIS_URL``: which channel layer it stands for."""

from __future__ import annotations

import pytest

from openalgo_site.config.channel_layer import channel_layers
from openalgo_site.config.env import EnvironmentValueError


def test_without_a_url_the_layer_is_in_memory() -> None:
    assert "InMemory" in channel_layers("")["default"]["BACKEND"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://:pa%2Fss@cache.example",
        "rediss://user:pass@[::1]:6380/2?socket_timeout=20",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_the_layer_waits_longer_than_its_own_blocking_read(url: str) -> None:
    from channels_redis.core import RedisChannelLayer

    (host,) = channel_layers(url)["default"]["CONFIG"]["hosts"]
    assert host["address"] == url
    assert host["socket_timeout"] > RedisChannelLayer.brpop_timeout


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:6379",
        "http://127.0.0.1:6379",
        "redis://",
        "redis://:secret-word/more@127.0.0.1:6379",
        "redis://:secret-word#more@127.0.0.1:6379",
        "redis://127.0.0.1:99999",
        "redis://[::1:6379/0",
        "unix:",
    ],
)
def test_what_is_no_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(EnvironmentValueError, match=r"REDIS_URL.*redis://HOST:PORT") as caught:
        channel_layers(url)
    assert "secret" not in str(caught.value)
