"""``manage.py runpool``: the worker that owns broker connections."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from openalgo_site.adapters.alerts import make_alerts
from openalgo_site.cli.command_line import database_code, database_sentence
from openalgo_site.cli.tables import tables_trouble
from openalgo_site.processes.worker import WorkerSettings, run_worker
from openalgo_site.processes.workers import AnotherWorkerError, OtherWorkers
from pooling import conf
from pooling.exceptions import StoreUnavailableError
from pooling.keys.crypto import load_sealer
from pooling.keys.files import KeyFileError
from pooling.keys.opening import CredentialOpener
from pooling.models import BrokerAccount
from pooling.signals import worker_opened
from pooling.store.accounts import DjangoAccountStore
from pooling.store.database import keep_connections
from pooling.store.logins import DjangoLoginStore
from pooling.worker.worker import PoolWorker
from streaming.exceptions import BusConfigurationError, BusError
from streaming.wire.address import bus_address

__all__ = ["Command"]

logger = logging.getLogger(__name__)

CONFIGURATION = 78  # sysexits.h EX_CONFIG: starting again without a change cannot help


class Command(BaseCommand):
    """Check what the worker needs, then run it until a signal."""

    help = "Own the broker connections of all enabled accounts, or of the named ones."
    requires_system_checks = ()  # what matters here is checked below, with exit code 78

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", type=int, action="append", metavar="ID")

    def handle(self, *args: Any, **options: Any) -> None:
        env = settings.ENV
        try:
            _check_keys()
            worker = WorkerSettings(
                bus=bus_address(env, settings.BUS_DIR),
                usage_interval_seconds=env.usage_interval_seconds,
                zone=timezone.get_default_timezone(),
                proxies=conf.proxy_rules(),
                send_hwm=env.zmq_send_hwm,
                login_http=conf.login_http_options(),
            )
            _check_proxy()
            _check_database(options["account"])
            others = OtherWorkers(options["account"])
            others.refuse_second()
            connection.close()
            keep_connections()
            store = DjangoAccountStore(
                key_file=conf.key_file(),
                account_ids=options["account"],
                bus_port=env.zmq_port,
                elders_of=others.elders_of,
            )
            registry = conf.broker_registry()
            logins = DjangoLoginStore(key_file=conf.key_file())
            run_worker(
                worker, store, registry, make_alerts, others.until_elder, _tell_opened, logins
            )
        except (KeyFileError, BusConfigurationError, _ConfigurationError) as error:
            raise CommandError(str(error), returncode=CONFIGURATION) from None
        except (AnotherWorkerError, BusError) as error:
            raise CommandError(str(error)) from None
        except (Error, StoreUnavailableError) as error:
            code = database_code(error)
            raise CommandError(database_sentence(error), returncode=code) from None


class _ConfigurationError(Exception):
    """The installation is not complete; the message says what is missing."""


def _tell_opened(worker: PoolWorker) -> None:
    """Hand the worker to code of one's own; Django logs what that raises."""
    worker_opened.send_robust(sender=PoolWorker, worker=worker)


def _check_keys() -> None:
    """Refuse to begin without what opens credentials; what seals them is others' affair."""
    path = conf.key_file()
    opener = CredentialOpener.from_file(path)
    try:
        wrong = opener.mismatch(path, load_sealer(path).key_id)
    except KeyFileError as error:
        wrong = str(error)
    if wrong:
        logger.error("no credential can be stored: %s", wrong)


def _check_proxy() -> None:
    try:
        conf.proxy_rules().proxy_for("wss://broker.invalid/")
    except BrokerConfigError as error:
        raise _ConfigurationError(str(error)) from None


def _check_database(account_ids: list[int] | None) -> None:
    if (trouble := tables_trouble()) is not None and trouble.is_behind:
        raise _ConfigurationError(trouble.sentence)
    known = set(BrokerAccount.objects.values_list("pk", flat=True))
    if unknown := sorted(set(account_ids or ()) - known):
        raise _ConfigurationError(
            f"there is no broker account {unknown[0]}: the admin's address bar shows the number"
        )
