"""What a run does, how masters change, and what a report shows."""

from __future__ import annotations

from datetime import date
from xml.etree import ElementTree

import pytest

from brokers.simulator.stamped import stamped_price
from tests.soak.chart import Band, Mark, svg
from tests.soak.market import changed_master, names_of, tradable
from tests.soak.plan import Happening, crowd_of, schedule, steady_from
from tests.soak.samples import metric
from tests.soak.tally import Tally

TODAY = date(2026, 1, 5)


@pytest.mark.parametrize("minutes", [1, 3, 15, 60, 600])
def test_every_run_has_every_event_and_replaces_processes_early(minutes: int) -> None:
    seconds = minutes * 60.0
    planned = schedule(seconds)
    assert {each.happening for each in planned} == set(Happening)
    assert [each.at for each in planned] == sorted(each.at for each in planned)
    assert all(0 < each.at < seconds for each in planned)
    replaced = [each for each in planned if each.target]
    assert all(each.at < steady_from(seconds) for each in replaced)


def test_a_long_run_has_rounds_of_events() -> None:
    found = [each.happening for each in schedule(3600)]
    assert found.count(Happening.REDIS_RESTARTED) == 3
    assert found.count(Happening.GATEWAY_KILLED) == 1


@pytest.mark.parametrize("clients", [10, 40, 200, 1000])
def test_a_crowd_has_all_kinds(clients: int) -> None:
    crowd = crowd_of(clients)
    assert crowd.total == clients
    parts = (crowd.sdk1, crowd.sdk2, crowd.batching, crowd.pages, crowd.quiet, crowd.changing)
    assert min(parts) >= 1
    assert crowd.quiet + crowd.changing <= crowd.batching


def test_too_small_a_crowd_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        crowd_of(9)


def test_a_changed_master_renames_expires_and_gives_a_token_on() -> None:
    names = names_of("zerodha", TODAY)
    renamed, expired, reused, *others = tradable(names, 9)
    change = changed_master(TODAY, 0, [renamed, expired, reused, *others])
    new = (renamed[0], f"{renamed[1]}R0")
    assert change.names == {
        renamed: None,
        new: names[renamed],
        expired: None,
        reused: names[expired],
    }
    later = changed_master(TODAY, 1, [renamed, expired, reused, *others])
    assert set(later.names).isdisjoint(change.names)
    assert new[1].encode() in later.master


def test_both_brokers_names_mean_the_same_instruments() -> None:
    zerodha, angel = names_of("zerodha", TODAY), names_of("angel", TODAY)
    assert all(zerodha[name] == angel[name] for name in tradable(angel, 200))


def test_a_tally_sums_up_by_what_prices_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.soak.tally.time.time", lambda: 1_000.5)
    tally = Tally("anna")
    tally.tick("NSE", "INFY", stamped_price(1, 7, 1_000) / 100)
    tally.tick("NSE", "INFY", stamped_price(1, 7, 990) / 100)
    tally.tick("NSE", "INFY", stamped_price(2, 7, 1_000) / 100)
    tally.flush()
    tally.flush()
    assert capsys.readouterr().out == (
        '{"kind": "ticks", "at": 1000.5, "client": "anna", "seen": '
        '[["NSE", "INFY", 1, 7, 2, 10.5, 1000.5, 1000.5], '
        '["NSE", "INFY", 2, 7, 1, 0.5, 1000.5, 1000.5]]}\n'
    )


def test_a_metric_is_the_sum_of_its_samples() -> None:
    text = '# HELP a b\na{gateway="1"} 2\na{gateway="2"} 3.0\nab 7\n'
    assert metric(text, "a") == 5
    assert metric(text, "c") == -1


def test_a_chart_is_well_formed_whatever_there_is() -> None:
    bands = [
        Band("Memory <MiB>", {"worker": [(0.0, 5.0), (10.0, 6.0)], "gateway": []}),
        Band("Nothing", {}),
        Band("Still", {"worker": [(0.0, 0.0), (10.0, 0.0)]}),
    ]
    text = svg("Soak & more", 10.0, bands, [Mark(1.0, 1.0, "redis <restarted>")])
    assert len(ElementTree.fromstring(text).findall(".//{*}polyline")) == 3
