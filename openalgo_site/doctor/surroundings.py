"""Settings, limits of the machine, clocks, and the way to the brokers."""

from __future__ import annotations

import resource
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from django.conf import settings
from django.core.checks import ERROR, WARNING, run_checks

from brokers.endpoints.addresses import is_loopback, netloc
from brokers.exceptions import BrokerConfigError
from openalgo_site.config.env import Environment
from openalgo_site.doctor.findings import Finding, failed, fine, skipped, warned
from openalgo_site.processes.running_ports import as_running
from pooling import conf
from pooling.models import BrokerAccount
from pooling.proxies import Proxy

__all__ = [
    "brokers",
    "clock",
    "open_files",
    "origins",
    "proxy",
    "running_environment",
    "system_checks",
]

# Of one process, beside its clients: database, bus, logs, libraries.
OTHER_FILES = 256
DEFAULT_CLIENTS = 500
CONNECT_SECONDS = 8.0
CLOCK_SAMPLE_SECONDS = 0.2
CLOCK_JUMP_SECONDS = 0.1
SKEW_WARNING_SECONDS = 2.0
SKEW_FAILED_SECONDS = 30.0
# Said by a check of its own, with more words.
KEY_FILE_CHECKS = ("pooling.W001", "pooling.W003", "pooling.E001")


def running_environment() -> Environment:
    """Return the settings, with the ports of a demo that runs where they differ."""
    return as_running(settings.ENV, Path(settings.DATA_DIR))[0]


def system_checks() -> Iterator[Finding]:
    """Words of ``manage.py check``, and whether a running demo's ports are looked at instead."""
    env, pid = as_running(settings.ENV, Path(settings.DATA_DIR))
    if env != settings.ENV:
        yield fine("settings", f"the ports are those of the demo that runs (process {pid})")
    found = False
    for message in run_checks():
        if message.level < WARNING or message.id in KEY_FILE_CHECKS:
            continue
        found = True
        make = failed if message.level >= ERROR else warned
        yield make("settings", f"{message.id}: {message.msg}", message.hint or "")
    if not found:
        yield fine("settings", "`manage.py check` has nothing to say")


def origins() -> Iterator[Finding]:
    """Check whether browsers can reach the site under the name that it has."""
    env, name, bad = settings.ENV, "origins", False
    hosts = settings.ALLOWED_HOSTS
    if "*" in hosts:
        bad = True
        yield warned(
            name,
            "ALLOWED_HOSTS=* answers to any name, which helps attacks by DNS",
            "name the site's own hosts in ALLOWED_HOSTS",
        )
    elif not is_loopback(env.host) and all(is_loopback(each) for each in hosts):
        bad = True
        yield failed(
            name,
            f"HOST={env.host} is open to other machines, but ALLOWED_HOSTS names this one only",
            "set PUBLIC_URL to the address that browsers use, or add its name to ALLOWED_HOSTS",
        )
    public = settings.PUBLIC_URL
    if public is not None and public.is_secure and not settings.TRUSTED_PROXIES:
        bad = True
        yield warned(
            name,
            f"PUBLIC_URL={public.origin}, but nobody is trusted who could bring TLS, so browsers "
            "are not told to stay with it, and all clients have the proxy's address",
            "set TRUSTED_PROXIES to the proxy's address, and let it set X-Forwarded-For and "
            "X-Forwarded-Proto (docs/access.md, Behind a proxy)",
        )
    for origin in settings.CSRF_TRUSTED_ORIGINS:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
            bad = True
            yield failed(
                name,
                f"CSRF_TRUSTED_ORIGINS: {origin!r} is no origin",
                "write scheme and host in CSRF_TRUSTED_ORIGINS, as in https://ticks.example.com",
            )
        elif not _is_allowed(netloc(parts.hostname), hosts):
            bad = True
            yield failed(
                name,
                f"CSRF_TRUSTED_ORIGINS names {parts.hostname}, ALLOWED_HOSTS does not",
                f"add {parts.hostname} to ALLOWED_HOSTS",
            )
    if not bad:
        known = f", and is known as {public.origin}" if public is not None else ""
        yield fine(name, f"the site answers to {', '.join(hosts)}{known}")


def _is_allowed(host: str, hosts: list[str]) -> bool:
    return any(host == each or (each[:1] == "." and host.endswith(each)) for each in hosts)


def open_files(clients: int | None) -> Iterator[Finding]:
    """Check whether a process may have as many sockets as clients are expected (None: 500)."""
    # A gateway raises the soft limit to the hard one when it starts.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    expected = clients or DEFAULT_CLIENTS
    needed = expected + OTHER_FILES
    if most == resource.RLIM_INFINITY or most >= needed:
        yield fine("open files", f"a process may open enough; {expected:,} clients need {needed:,}")
        return
    words = f"a process may open {most:,} files; {expected:,} clients need {needed:,}"
    mends = f"run `ulimit -n {needed}` before the gateway, or set LimitNOFILE={needed} in its unit"
    make = warned if clients is None else failed
    yield make("open files", words, mends)


def clock() -> Iterator[Finding]:
    """Check whether the wall clock runs as steadily as the monotonic one."""
    wall, steady = time.time(), time.monotonic()
    time.sleep(CLOCK_SAMPLE_SECONDS)
    jump = (time.time() - wall) - (time.monotonic() - steady)
    if abs(jump) > CLOCK_JUMP_SECONDS:
        yield warned(
            "clock",
            f"the wall clock jumped by {jump:+.2f} s while it was watched",
            "synchronise it by slewing (chrony or systemd-timesyncd)",
        )
    else:
        yield fine("clock", "the wall clock runs steadily; --network compares it with the brokers'")


def proxy() -> Iterator[Finding]:
    """Way to the brokers: a proxy changes the address that they see."""
    rules, name = conf.proxy_rules(), "proxy"
    urls = ("wss://broker.invalid/", "https://broker.invalid/")
    try:
        sockets, http = (rules.proxy_for(url) for url in urls)
    except BrokerConfigError as error:
        yield failed(name, str(error), "mend it, or set BROKER_PROXY=none for the direct way")
        return
    if sockets is None and http is None:
        yield fine(name, "brokers are reached directly")
        return
    yield fine(name, f"sockets and HTTP to brokers go through {sockets or http}")


def brokers() -> Iterator[Finding]:
    """Check whether the endpoints of enabled accounts can be reached, and what time it is there."""
    urls: dict[str, str] = {}
    for account in BrokerAccount.objects.filter(enabled=True).order_by("pk"):
        try:
            capabilities = account.capabilities()
        except BrokerConfigError as error:
            yield failed(
                "brokers",
                str(error),
                "install its adapter, mend the account's settings in the admin, or disable it",
            )
            continue
        urls[account.endpoint or capabilities.default_endpoint] = capabilities.label
        if not account.endpoint and capabilities.http_endpoint:
            urls[capabilities.http_endpoint] = capabilities.label
    if not urls:
        yield skipped("brokers", "there is no enabled account")
    for url, label in urls.items():
        yield from _reach(url, label)


def _reach(url: str, label: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    secure = parts.scheme in ("wss", "https")
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    where = f"{label} at {netloc(host, port)}"
    mends = "check the network, a firewall, and the account's endpoint in the admin"
    try:
        way = conf.proxy_rules().proxy_for(url)
    except BrokerConfigError:
        return  # said by a check of its own
    if way is not None:
        yield from _reach_through(way, url, where)
        return
    started = time.perf_counter()
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as raw:
            if secure:
                with ssl.create_default_context().wrap_socket(raw, server_hostname=host):
                    pass
    except ssl.SSLError as error:
        yield failed("brokers", f"{where}: TLS failed ({error.reason})", mends)
        return
    except OSError as error:
        yield failed("brokers", f"{where} cannot be reached ({error.strerror or error})", mends)
        return
    elapsed = (time.perf_counter() - started) * 1000
    yield fine("brokers", f"{where} took the connection in {elapsed:.0f} ms")
    yield from _skew(f"{'https' if secure else 'http'}://{parts.netloc}/", where)


def _reach_through(way: Proxy, url: str, where: str) -> Iterator[Finding]:
    """Ask over HTTP, as a proxy has to be asked; any answer shows that the broker is there."""
    mends = f"check the proxy that {way.source} names, or set BROKER_PROXY=none"
    https = f"http{'s' if urlsplit(url).scheme in ('wss', 'https') else ''}"
    target = f"{https}://{urlsplit(url).netloc}/"
    started = time.perf_counter()
    try:
        httpx2.head(target, timeout=CONNECT_SECONDS, trust_env=False, proxy=way.url)
    except httpx2.HTTPError as error:
        words = (
            f"{where} cannot be reached through the proxy {way} ({error or type(error).__name__})"
        )
        yield failed("brokers", words, mends)
        return
    elapsed = (time.perf_counter() - started) * 1000
    yield fine("brokers", f"{where} answered through the proxy {way} in {elapsed:.0f} ms")
    yield from _skew(target, where, way.url)


def _skew(url: str, where: str, way: str | None = None) -> Iterator[Finding]:
    """Compare this clock with the Date of the broker's answer, which has whole seconds."""
    try:
        before = datetime.now(UTC)
        answer = httpx2.get(url, timeout=CONNECT_SECONDS, trust_env=False, proxy=way)
        after = datetime.now(UTC)
        theirs = parsedate_to_datetime(answer.headers["Date"])
    except (httpx2.HTTPError, KeyError, ValueError):
        return  # it has no clock to compare with; the connection was judged above
    ahead = (before - theirs).total_seconds() - 1.0  # their second may be nearly over
    behind = (theirs - after).total_seconds()
    skew = max(ahead, behind, 0.0)
    if skew > SKEW_WARNING_SECONDS:
        make = failed if skew > SKEW_FAILED_SECONDS else warned
        way = "ahead of" if ahead > behind else "behind"
        yield make(
            "clock",
            f"this machine's clock is {skew:.0f} s {way} that of {where}",
            "synchronise it (chrony or systemd-timesyncd)",
        )
    else:
        yield fine("clock", f"it agrees with that of {where}")
