"""Workers, gateways and the bus between them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
from channels.layers import get_channel_layer
from django.conf import settings
from django.utils import timezone

from brokers.endpoints.addresses import host_to_connect, netloc
from brokers.pool_service import FeedEvent
from brokers.words import counted, named_error, verb
from openalgo_site.doctor.findings import Finding, failed, fine, skipped, warned
from openalgo_site.doctor.hung import hung_worker
from openalgo_site.doctor.surroundings import running_environment
from pooling.operations.describe import PoolView, accounts_with_status, view_of
from pooling.operations.pool_state import PoolState, Tone
from streaming.exceptions import BusConfigurationError
from streaming.link.zmq_feed_link import ZmqFeedLink
from streaming.models import GatewayStatus
from streaming.ports.link import TickMessage
from streaming.wire.address import BusAddress, bus_address
from streaming.wire.versions import PROTOCOL_VERSION, UNTOLD

__all__ = ["bus", "gateways", "notices", "workers"]

BEAT_SECONDS = 4.0
HTTP_SECONDS = 5.0
NOTICE_SECONDS = 3.0
STEP_SECONDS = 0.05
MAX_AHEAD_SECONDS = 2.0
START_WORKER = "start one with `python manage.py runpool` (`make run` for the demo) and see its log"
RESTART_BOTH = "after an upgrade restart the worker and all gateways"
START_GATEWAY = "start one with `python manage.py rungateway` and see its log"


def workers() -> Iterator[Finding]:
    """Check whether every enabled pool has a worker that was heard of late, and how its feed is."""
    now, served, name = timezone.now(), 0, "workers"
    views = [view_of(account, now) for account in accounts_with_status()]
    for view in views:
        if view.state is PoolState.DISABLED:
            continue
        if not view.is_served:
            yield _unserved(view)
            continue
        served += 1
        yield from _trouble(view)
    ahead = [
        account.status.owner
        for account in accounts_with_status()
        if hasattr(account, "status")
        and (account.status.heartbeat - now).total_seconds() > MAX_AHEAD_SECONDS
    ]
    for owner in sorted(set(ahead)):
        yield failed(
            name,
            f"the clock of worker {owner} is ahead of this machine's",
            "synchronise both clocks (chrony or systemd-timesyncd)",
        )
    if served:
        yield fine(name, f"{counted(served, 'pool')} {verb(served, 'has', 'have')} a worker")
    elif all(view.state is PoolState.DISABLED for view in views):
        yield skipped(name, "there is no enabled account: add one on the Brokers page")


def _unserved(view: PoolView) -> Finding:
    if hung := hung_worker(view.id):
        return failed("workers", f"{view.name}: {hung.words}", hung.mends)
    return failed("workers", f"{view.name}: {view.state}: {view.reason}", START_WORKER)


def _trouble(view: PoolView) -> Iterator[Finding]:
    """Say what is not well with a pool that has a worker."""
    if not view.state.needs_somebody:
        return
    tell = failed if view.state.tone is Tone.BAD else warned
    why = f": {view.reason}" if view.reason else ""
    mends = _MENDS.get(view.state, "see `manage.py pool show`")
    yield tell("workers", f"{view.name}: {view.state}{why}", mends)


_MENDS = {
    PoolState.LOGIN_NEEDED: "log in on the Brokers page; the new credential is tried at once",
    PoolState.WAITING_FOR_ROOM: "raise the account's limits (`manage.py pool set-limit`), or "
    "unsubscribe something",
}


def bus() -> Iterator[Finding]:
    """Check whether a worker's announcements arrive here, and whether it answers a request."""
    env, name = running_environment(), "bus"
    try:
        address = bus_address(env, settings.BUS_DIR)
        is_listening = _is_listening(address)
    except BusConfigurationError as error:
        yield failed(
            name, str(error), "check ZMQ_HOST, ZMQ_PORT, ZMQ_SOCKET_DIR and ZMQ_CURVE_KEY_FILE"
        )
        return
    heard = asyncio.run(_round_trip(ZmqFeedLink(buses=[address], only_looks=True)))
    for trouble in heard.troubles:
        yield failed(name, f"{address}: {trouble}", RESTART_BOTH)
    if heard.beat and heard.milliseconds is not None:
        yield fine(name, f"{address}: a request was answered in {heard.milliseconds:.1f} ms")
    elif heard.beat and not heard.pools:
        yield warned(name, f"{address}: a worker announces itself, but serves no pool")
    elif heard.beat:
        yield failed(
            name,
            f"{address}: a worker announces itself, but does not answer requests",
            "start the worker again; on another machine, open its control port to this one",
        )
    elif not is_listening:
        where = "ZMQ_HOST, ZMQ_PORT" if address.files is None else "DATA_DIR, ZMQ_PORT"
        yield failed(name, f"{address}: nobody listens there ({where})", START_WORKER)
    elif hung := hung_worker():
        yield failed(name, f"{address}: {hung.words}", hung.mends)
    elif address.files is not None:
        yield failed(
            name,
            f"{address}: something listens there and does not announce itself",
            "stop it (`fuser` names it) and start the worker again",
        )
    else:
        yield failed(
            name,
            f"{address}: something listens there, but it is no worker of this installation",
            "give ZMQ_PORT another number, or use the worker's ZMQ_CURVE_KEY_FILE here too",
        )


class _Deaf:
    """A listener that wants nothing."""

    def on_ticks(self, messages: Sequence[TickMessage]) -> None:
        pass

    def on_values(self, messages: Sequence[TickMessage]) -> None:
        pass

    def drop_waiting(self) -> None:
        pass

    def on_event(self, event: FeedEvent) -> None:
        pass

    def patience_seconds(self) -> float:
        return 0.0


class _Heard(NamedTuple):
    """Signs of life on a bus: a beat, how many pools it names, how long one request took."""

    beat: bool
    milliseconds: float | None = None
    pools: int = 0
    troubles: Sequence[str] = ()


async def _round_trip(link: ZmqFeedLink) -> _Heard:
    await link.open(_Deaf())
    try:
        deadline = time.monotonic() + BEAT_SECONDS
        # The link tells of feeds, not of workers; a few looks a second cost nothing here.
        while not link.workers() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(STEP_SECONDS)
        pools, troubles = list(link.pools()), link.version_troubles()
        if not pools:
            return _Heard(bool(link.workers()), troubles=troubles)
        started = time.perf_counter()
        stats = await link.stats(pools[0])
        elapsed = (time.perf_counter() - started) * 1000
        return _Heard(True, None if stats is None else elapsed, len(pools), troubles)
    finally:
        await link.close()


def _is_listening(address: BusAddress) -> bool:
    """Tell whether somebody does.

    Raises:
        BusConfigurationError: the folder of the socket files is not the installation's alone.
    """
    try:
        if address.files is not None:
            address.files.check()
            return address.files.answers(address.ticks_name)
        target = (host_to_connect(address.host), address.port)
        with socket.create_connection(target, timeout=1.0):
            return True
    except OSError:
        return False


def notices() -> Iterator[Finding]:
    """Check whether the channel layer of ``REDIS_URL`` carries a message there and back."""
    name, where = "redis", _without_credentials(settings.ENV.redis_url)
    if not where:
        yield skipped(name, "REDIS_URL is not set: each gateway process looks every 2 s itself")
        return
    try:
        milliseconds = asyncio.run(_notice_round_trip())
    except Exception as error:  # supervision point: a layer may fail as it likes
        reason = named_error(error, "no answer in time")
        yield failed(
            name,
            f"the channel layer at {where} does not work ({reason}); "
            "clients are served, and revoked keys are noticed within 2 s instead of at once",
            "start Redis, or correct REDIS_URL and start the gateways again",
        )
        return
    yield fine(name, f"{where}: a message was back in {milliseconds:.1f} ms")


async def _notice_round_trip() -> float:
    """Return the milliseconds that a message to ourselves takes."""
    layer = get_channel_layer()
    async with asyncio.timeout(NOTICE_SECONDS):
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "doctor"})  # the connection's own time is not counted
        await layer.receive(channel)
        started = time.perf_counter()
        await layer.send(channel, {"type": "doctor"})
        await layer.receive(channel)
        elapsed = (time.perf_counter() - started) * 1000
        await layer.close_pools()
    return elapsed


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path


def gateways() -> Iterator[Finding]:
    """Check whether a gateway was heard within seconds, and the site answers on this machine."""
    env, name, now = running_environment(), "gateways", timezone.now()
    alive = list(GatewayStatus.objects.alive(now))
    host = host_to_connect(env.host)
    url = f"http://{netloc(host, env.port)}/livez"
    try:
        status = httpx2.get(url, timeout=HTTP_SECONDS, trust_env=False).status_code
    except httpx2.HTTPError as error:
        if alive:
            yield fine(name, f"{_heard(len(alive))}; none on this machine's PORT")
            return
        yield failed(name, f"{url} does not answer ({type(error).__name__})", START_GATEWAY)
        return
    if status == httpx2.codes.OK:
        yield fine(name, f"{url} answers; {_heard(len(alive))}")
        yield from _older_gateway(f"http://{netloc(host, env.port)}/readyz")
    elif status == httpx2.codes.BAD_REQUEST:
        yield failed(
            name,
            f"{url} is refused: {netloc(host)} is no host of the site",
            f"add {netloc(host)} to ALLOWED_HOSTS",
        )
    else:
        yield failed(
            name,
            f"{url} answers with HTTP {status}: another program has the port",
            "give PORT another number",
        )


def _heard(processes: int) -> str:
    words = counted(processes, "process", plural="processes")
    return f"{words} {verb(processes, 'is', 'are')} heard"


def _older_gateway(url: str) -> Iterator[Finding]:
    """Say that the gateway runs other code than this command, as after half an upgrade."""
    try:
        answer = httpx2.get(url, timeout=HTTP_SECONDS, trust_env=False).json()
    except (httpx2.HTTPError, ValueError):
        return  # what is wrong with the database is told by its own checks
    version = answer.get("bus_version", UNTOLD) if isinstance(answer, dict) else UNTOLD
    if version != PROTOCOL_VERSION:
        words = "an older version" if version == UNTOLD else f"version {version}"
        yield failed(
            "gateways",
            f"the gateway that answers speaks {words} of the bus, this command "
            f"version {PROTOCOL_VERSION}",
            RESTART_BOTH,
        )
