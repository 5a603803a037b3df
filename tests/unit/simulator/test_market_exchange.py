"""What the exchanges of Indian brokers share, without a socket."""

from __future__ import annotations

import pytest

from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market_exchange import fits, wire_names
from tests.fix_simulator import make_market


@pytest.mark.parametrize(
    ("given", "wanted", "is_taken"),
    [
        ("right", "right", True),
        ("wrong", "right", False),
        ("any", "", True),
        ("", "right", False),
        ("", "", False),
    ],
)
def test_a_part_of_a_credential_fits_what_is_wanted_or_is_any_but_none(given, wanted, is_taken):
    assert fits(given, wanted) is is_taken


def test_names_lead_to_tokens_and_back_where_the_broker_has_the_instrument():
    def name_of(item: ListedInstrument) -> str | None:
        return None if item.segment is Segment.NSE else f"{item.exchange}|{item.tradingsymbol}"

    market = make_market(400)
    tokens, names = wire_names(market, name_of)
    has = [item for item in market.instruments() if item.segment is not Segment.NSE]
    assert 0 < len(has) < len(market.instruments())
    assert names == {item.instrument_token: name_of(item) for item in has}
    assert tokens == {name: token for token, name in names.items()}
