"""Who a client is, as the gateway asks it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from brokers.registry import default_registry
from brokers.types import InstrumentKey
from openalgo_site.adapters.users_and_accounts import DjangoDirectory
from pooling.models import BrokerAccount, Instrument, SearchTier
from streaming.exceptions import KeyEndedError
from streaming.models import ApiKey
from streaming.ports.directory import Directory, Principal
from streaming.scopes import EVERYTHING, Scope


@pytest.fixture
def directory() -> DjangoDirectory:
    return DjangoDirectory()


@sync_to_async
def issue(user: User) -> tuple[ApiKey, str]:
    return ApiKey.objects.issue(user, "notebook")


@sync_to_async
def log_in(user: User) -> str:
    client = Client()
    client.force_login(user)
    assert client.session.session_key is not None
    return client.session.session_key


def test_directory_satisfies_the_contract(directory: DjangoDirectory) -> None:
    contract: Directory = directory
    assert contract is directory


async def test_a_key_names_its_user_and_accounts(
    directory: DjangoDirectory, user: User, account: BrokerAccount
) -> None:
    await sync_to_async(BrokerAccount.objects.create)(user=user, broker="binance")
    await sync_to_async(BrokerAccount.objects.create)(
        user=user, broker="binance", label="off", enabled=False
    )
    key, plaintext = await issue(user)
    principal = await directory.authenticate_api_key(plaintext)
    assert principal is not None
    assert (principal.user_id, principal.username, principal.key_id) == (user.pk, "asha", key.pk)
    assert [each.broker for each in principal.accounts] == ["zerodha", "binance"]
    assert principal.accounts[0].pool_id == str(account.pk)
    assert principal.accounts[1].depth_levels == (5, 10, 20)
    found = principal.account_for("NFO")
    assert found is not None
    assert found.broker == "zerodha"


async def test_accounts_that_cannot_be_used_now_are_away_and_say_why(
    directory: DjangoDirectory, user: User, account: BrokerAccount
) -> None:
    @sync_to_async
    def store() -> None:
        other = User.objects.create_user("other")
        BrokerAccount.objects.create(user=other, broker="binance", enabled=False)
        BrokerAccount.objects.create(user=user, broker="binance", label="b", enabled=False)
        BrokerAccount.objects.filter(pk=account.pk).update(broker="nobody")

    _, plaintext = await issue(user)
    await store()
    principal = await directory.authenticate_api_key(plaintext)
    assert principal is not None
    assert principal.accounts == ()
    broken, disabled = principal.away
    assert broken.pool_id == str(account.pk)
    assert broken.exchanges == frozenset()
    assert "cannot be served as it is stored: unknown broker" in broken.away
    assert disabled.away == (
        "the broker account binance b is disabled; prices come by themselves once it is enabled"
    )
    assert principal.account_for("NSE") == broken
    assert principal.account_for("BINANCE") == disabled
    assert (await directory.refresh([principal])) == [principal]


@pytest.mark.parametrize("key", ["", "wrong", "x" * 100_000, "\udcff", "\x00"])
async def test_other_keys_name_nobody(directory: DjangoDirectory, user: User, key: str) -> None:
    await issue(user)
    assert await directory.authenticate_api_key(key) is None


async def test_a_session_lasts_until_logout(directory: DjangoDirectory, user: User) -> None:
    session = await log_in(user)
    principal = await directory.authenticate_session(session)
    assert principal is not None
    assert (principal.username, principal.session_key) == ("asha", session)
    assert await directory.authenticate_session("unknown") is None
    await sync_to_async(lambda: Client(headers={}).logout())()
    await sync_to_async(_delete_session)(session)
    assert await directory.authenticate_session(session) is None


def _delete_session(session_key: str) -> None:
    from django.contrib.sessions.models import Session

    Session.objects.filter(session_key=session_key).delete()


async def test_a_new_password_ends_older_sessions(directory: DjangoDirectory, user: User) -> None:
    session = await log_in(user)
    user.set_password("another-password-2")
    await sync_to_async(user.save)()
    assert await directory.authenticate_session(session) is None


async def test_an_expired_session_is_over(directory: DjangoDirectory, user: User) -> None:
    session = await log_in(user)

    @sync_to_async
    def expire() -> None:
        from django.contrib.sessions.models import Session

        Session.objects.update(expire_date=timezone.now())

    await expire()
    assert await directory.authenticate_session(session) is None


async def test_refresh_answers_each_principal_as_it_is_now(
    directory: DjangoDirectory, user: User, account: BrokerAccount
) -> None:
    key, plaintext = await issue(user)
    revoked, revoked_plaintext = await issue(user)
    session = await log_in(user)
    asked = [
        await directory.authenticate_api_key(plaintext),
        await directory.authenticate_api_key(revoked_plaintext),
        await directory.authenticate_session(session),
    ]
    principals = [each for each in asked if each is not None]
    assert len(principals) == 3
    await sync_to_async(revoked.revoke)()
    await sync_to_async(BrokerAccount.objects.all().delete)()
    by_key, gone, by_session = await directory.refresh(principals)
    assert gone is None
    assert by_key is not None
    assert by_session is not None
    assert (by_key.key_id, by_key.accounts) == (key.pk, ())
    assert by_session.session_key == session


async def test_refresh_takes_one_query_per_kind(
    directory: DjangoDirectory,
    user: User,
    django_assert_max_num_queries: pytest.FixtureRequest,
) -> None:
    """A hundred clients of one gateway cost four queries, not four hundred."""
    from openalgo_site.adapters.users_and_accounts import _refresh

    session = await log_in(user)
    key, _ = await issue(user)
    principals = [
        Principal(user_id=user.pk, username="asha", accounts=(), key_id=key.pk),
        Principal(user_id=user.pk, username="asha", accounts=(), session_key=session),
    ] * 50

    @sync_to_async
    def measure() -> list[Principal | None]:
        with django_assert_max_num_queries(4):  # type: ignore[operator]
            return _refresh(principals)

    assert None not in await measure()


@pytest.fixture
def more_instruments(instruments: list[Instrument]) -> None:
    Instrument.objects.bulk_create(
        Instrument(
            broker="zerodha",
            exchange=exchange,
            symbol=symbol,
            broker_token=symbol,
            loaded=timezone.now(),
        )
        for exchange, symbol in (
            ("BSE", "BANKBARODA"),
            ("NSE_INDEX", "NIFTY"),
            ("BSE_INDEX", "BSEAUTO"),
        )
    )


@pytest.mark.parametrize(
    ("exchange", "symbol", "nearest"),
    [
        ("NSE", "RELIANC", ["RELIANCE"]),
        ("NSE", "reliance", ["RELIANCE"]),
        ("NSE", "INFI", ["INFY"]),
        ("NSE", "IFNY", ["INFY"]),
        ("NSE", "HDFCBNK", ["HDFCBANK"]),
        ("NSE", "ZZZZZZ", []),
        ("NSE", "", []),
        ("MCX", "RELIANCE", ["NSE:RELIANCE"]),
        ("NSE", "NIFTY", ["NSE_INDEX:NIFTY"]),
        ("NSE", "NIFTY 50", ["NSE_INDEX:NIFTY"]),
        ("NFO", "RELIANC", ["NSE:RELIANCE"]),
        ("BSE_INDEX", "AUTO", ["BSEAUTO"]),
        ("BSE", "AUTO", ["BSE_INDEX:BSEAUTO"]),
        ("nowhere", "BANKBARODA", ["NSE:BANKBARODA", "BSE:BANKBARODA"]),
        ("NSE", "%", []),
        ("NSE", "X" * 5000, []),
    ],
)
async def test_suggestions_are_the_nearest_of_the_exchange_then_of_all(
    directory: DjangoDirectory,
    more_instruments: None,
    exchange: str,
    symbol: str,
    nearest: list[str],
) -> None:
    found = await directory.suggest("zerodha", exchange, symbol)
    assert list(found) == nearest


async def test_names_are_listed_exactly_or_not_at_all(
    directory: DjangoDirectory, instruments: list[Instrument]
) -> None:
    index = InstrumentKey("BSE_INDEX", "BSESENSEXSIXTY65:35")
    other = instruments[0]
    for key, tier in (
        (index, SearchTier.CASH),
        (InstrumentKey("NSE", "OLD:5"), SearchTier.EXPIRED),
    ):
        await Instrument.objects.acreate(
            broker="zerodha",
            exchange=key.exchange,
            symbol=key.symbol,
            broker_token="1",
            broker_symbol=key.symbol,
            tier=tier,
            loaded=other.loaded,
        )
    asked = [index, InstrumentKey("NSE", "OLD:5"), InstrumentKey("NSE", "INFY:20")]
    assert await directory.listed("zerodha", asked) == {index}
    assert await directory.listed("binance", asked) == set()


async def test_a_broker_without_instruments_is_told(
    directory: DjangoDirectory, instruments: list[Instrument]
) -> None:
    assert await directory.why_not_listed("zerodha") == ""
    assert await directory.why_not_listed("angel") == (
        "No instruments are loaded for Angel One: run manage.py loadinstruments --broker angel."
    )
    assert "unknown broker" in await directory.why_not_listed("nobody")


async def test_supported_brokers(directory: DjangoDirectory) -> None:
    assert list(await directory.supported_brokers()) == default_registry().names()


# What a key may do, and until when


async def test_scope_and_end_come_with_the_key_and_stay_at_a_refresh(
    directory: DjangoDirectory, user: User, account: BrokerAccount
) -> None:
    ends = datetime(2099, 1, 1, tzinfo=UTC)
    issue_key = sync_to_async(ApiKey.objects.issue)
    _, plaintext = await issue_key(user, "narrow", scope={Scope.READ_STATUS}, ends=ends)
    _, endless = await issue_key(user, "wide", scope=EVERYTHING)
    narrow = await directory.authenticate_api_key(plaintext)
    wide = await directory.authenticate_api_key(endless)
    assert narrow is not None
    assert wide is not None
    assert narrow.scope == frozenset({Scope.READ_STATUS})
    assert narrow.ends_ms == 4_070_908_800_000
    assert (wide.scope, wide.ends_ms) == (EVERYTHING, None)
    # Exactly what was told before: any difference closes the key's sockets.
    assert await directory.refresh([narrow, wide]) == [narrow, wide]


async def test_a_session_may_do_everything_and_has_no_end(
    directory: DjangoDirectory, user: User, account: BrokerAccount
) -> None:
    principal = await directory.authenticate_session(await log_in(user))
    assert principal is not None
    assert (principal.scope, principal.ends_ms) == (EVERYTHING, None)
    assert await directory.refresh([principal]) == [principal]


async def test_an_ended_key_is_told_so_and_ends_at_a_refresh(
    directory: DjangoDirectory, user: User, account: BrokerAccount
) -> None:
    key, plaintext = await issue(user)
    principal = await directory.authenticate_api_key(plaintext)
    assert principal is not None
    key.ends = timezone.now()
    await key.asave()
    with pytest.raises(KeyEndedError, match="This API key ended at "):
        await directory.authenticate_api_key(plaintext)
    assert await directory.refresh([principal]) == [None]
