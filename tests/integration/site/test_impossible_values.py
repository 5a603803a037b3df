"""Addresses of the admin that somebody edited: values that no row of a database can have."""

from __future__ import annotations

from datetime import date

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import FieldDoesNotExist
from django.test import Client

from openalgo_site.web.impossible_values import NOT_CHOSEN, NOT_FILTERED
from pooling.admin.lists.large_tables import date_level
from pooling.models import BrokerAccount

NUMBERS = ("9" * 19, "9" * 30, "9" * 5000, "²", "\x00")
FILTERS = (
    "id__exact",
    "id__in",
    "id__gt",
    "account",
    "account__exact",
    "account__id__exact",
    "account__in",
    "account__user",
    "account__user__id__exact",
    "user",
    "user__id__exact",
    "user__gt",
    "slot",
    "symbols__in",
    "p",
    "o",
    "q",
)
DATES = (
    {"year": "9" * 30},
    {"year": "10000"},
    {"year": "0"},
    {"year": "²"},
    {"year": "2026", "month": "9" * 30},
    {"year": "2026", "month": "13"},
    {"year": "2026", "month": "11", "day": "9" * 30},
    {"year": "2026", "month": "11", "day": "31"},
)
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label_lower)


def has_field(model: type, name: str) -> bool:
    try:
        model._meta.get_field(name)  # type: ignore[attr-defined]
    except FieldDoesNotExist:
        return False
    return True


def addresses(model: type) -> list[dict[str, str]]:
    names = [each for each in FILTERS if len(each) == 1 or has_field(model, each.split("__")[0])]
    found = [{name: number} for name in names for number in NUMBERS]
    for field in ("created", "started", "day", "at"):
        if has_field(model, field):
            found += [
                {f"{field}__{part}": value for part, value in parts.items()} for parts in DATES
            ]
    return found


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label_lower)
def test_no_value_of_an_address_is_a_failure(
    model: type, admin_client: Client, account: BrokerAccount
) -> None:
    """Of a list's filters, pages and dates, and of an object's own address."""
    admin_client.raise_request_exception = False
    meta = model._meta  # type: ignore[attr-defined]
    base = f"/admin/{meta.app_label}/{meta.model_name}/"
    failed = [
        query for query in addresses(model) if admin_client.get(base, query).status_code >= 400
    ]
    # A filter by what the list does not offer is refused, whatever its value.
    assert [
        query for query in failed if admin_client.get(base, query).status_code not in (400, 403)
    ] == []
    for number in ("9" * 19, "9" * 30, "²"):
        for action in ("change/", "history/", "delete/", ""):
            answer = admin_client.get(f"{base}{number}/{action}", follow=True)
            assert answer.status_code in (200, 403, 404), (number, action)


def test_who_edited_an_address_is_told_and_sees_the_list(
    admin_client: Client, account: BrokerAccount
) -> None:
    url = "/admin/pooling/poolevent/"
    answer = admin_client.get(url, {"account__exact": "9" * 30}, follow=True)
    assert answer.redirect_chain == [(f"{url}?e=1", 302)]
    assert NOT_FILTERED in answer.content.decode()
    url = "/admin/pooling/brokeraccount/"
    chosen = {"action": "delete_selected", "_selected_action": "9" * 30, "index": "0"}
    assert NOT_CHOSEN in admin_client.post(url, chosen, follow=True).content.decode()
    assert BrokerAccount.objects.count() == 1


def test_a_failure_that_is_no_values_stays_one(
    admin_client: Client, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails again without the filters; and outside the admin nothing is led anywhere."""

    def fail(*_: object, **__: object) -> None:
        raise ValueError("ours")

    monkeypatch.setattr("pooling.admin.history.BoundedPaginator.count", property(fail))
    admin_client.raise_request_exception = False
    url = "/admin/pooling/poolevent/"
    assert admin_client.get(url).status_code == 500
    assert admin_client.get(url, {"q": "a"}).status_code == 302
    assert admin_client.get(url, {"q": "a"}, follow=True).status_code == 500


def test_a_date_level_reads_whole_numbers_only() -> None:
    """What a browser sent may be no number to ``int``, or a number of thousands of digits."""
    for text in NUMBERS[1:]:
        level = date_level({"at__year": text, "at__month": text, "at__day": text}, "at")
        assert (level.year, level.month, level.day) == (None, None, None)
    level = date_level({"at__year": "2026", "at__month": "²"}, "at")
    assert (level.year, level.month) == (2026, None)
    assert list(level.choices(date(2026, 1, 2), date(2026, 1, 3))) == [
        ("January 2026", {"year": 2026, "month": 1})
    ]
