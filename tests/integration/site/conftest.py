"""A user with accounts, as the site's tests need it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from pooling.instruments.words import name_words, underlying_of
from pooling.models import BrokerAccount, Instrument, InstrumentWord, SearchTier
from tests.credential_kit import CredentialCipher

__all__: list[str] = []


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("asha", password="a-long-password-1")


@pytest.fixture
def account(user: User) -> BrokerAccount:
    return BrokerAccount.objects.create(user=user, broker="zerodha")


@pytest.fixture
def cipher(data_dir: Path) -> CredentialCipher:
    return CredentialCipher.created(data_dir / "credentials.key")


@pytest.fixture
def instruments(transactional_db: None) -> list[Instrument]:
    rows = [
        ("zerodha", "NSE", "RELIANCE", "738561", "RELIANCE INDUSTRIES", "EQ"),
        ("zerodha", "NSE", "INFY", "408065", "INFOSYS", "EQ"),
        ("zerodha", "NSE", "HDFCBANK", "341249", "HDFC BANK", "EQ"),
        ("zerodha", "NSE", "BANKBARODA", "1195009", "BANK OF BARODA", "EQ"),
        ("zerodha", "NSE", "M&M", "519937", "MAHINDRA & MAHINDRA", "EQ"),
        ("zerodha", "NFO", "RELIANCE28NOV26FUT", "9001", "RELIANCE", "FUT"),
        ("binance", "BINANCE", "BTCUSDT", "btcusdt", "BTC/USDT", "SPOT"),
    ]
    made = Instrument.objects.bulk_create(
        Instrument(
            broker=broker,
            exchange=exchange,
            symbol=symbol,
            broker_token=token,
            broker_symbol=symbol,
            name=name,
            instrument_type=kind,
            tier=SearchTier.of(kind),
            underlying=underlying_of(symbol),
            loaded=timezone.now(),
        )
        for broker, exchange, symbol, token, name, kind in rows
    )
    InstrumentWord.objects.bulk_create(
        InstrumentWord(instrument=each, broker=each.broker, word=word)
        for each in made
        for word in name_words(each.name)
    )
    return made


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
