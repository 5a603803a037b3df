"""Tags for the templates of the admin's pages of pools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import template
from django.contrib.admin.views.main import ChangeList
from django.utils import timezone

from pooling.admin.forms.limits import LimitsPanel
from pooling.admin.lists.cells import bar
from pooling.admin.lists.large_tables import BOUND, date_level, date_range
from pooling.admin.overview import overview

__all__ = ["register"]

register = template.Library()


@register.simple_tag
def limit_rows(inline_form: Any, panel: LimitsPanel) -> Iterator[dict[str, Any]]:
    """Yield each limit of the form as ``field``, with its ``name`` and the ``facts`` beside it."""
    for fieldset in inline_form:
        for line in fieldset:
            for field in line:
                name = field.field["name"] if field.is_readonly else field.field.name
                yield {"field": field, "name": name, "facts": panel.facts[name]}


@register.simple_tag
def used_bar(used: int, capacity: int, unit: str = "") -> str:
    """Return how much is used, as numbers and as a bar."""
    return bar(used, capacity, unit)


@register.simple_tag(takes_context=True)
def pools_at_a_glance(context: dict[str, Any]) -> Any:
    """Return the overview for the index, or None for a person who may not see pools."""
    user = context["request"].user
    return overview(timezone.now()) if user.has_perm("pooling.view_brokeraccount") else None


@register.simple_tag
def is_cut(cl: ChangeList) -> bool:
    """Tell whether a list of a large table shows its first rows only."""
    return bool(cl.result_count >= BOUND)


@register.inclusion_tag("admin/date_hierarchy.html")
def bounded_date_hierarchy(cl: ChangeList) -> dict[str, Any]:
    """Show years, months or days to drill down into, without reading the rows between them."""
    field = str(cl.date_hierarchy)
    found = date_range(cl.queryset, field, getattr(cl.model_admin, "date_index", None))
    if found is None:
        return {"show": False}
    chosen = date_level(cl.params, field)
    level = chosen.narrowed(*found)

    def link(parts: dict[str, int]) -> str:
        names = {f"{field}__{part}": number for part, number in parts.items()}
        return str(cl.get_query_string(names, [f"{field}__"]))

    choices = [{"title": title, "link": link(parts)} for title, parts in level.choices(*found)]
    if chosen.day is not None:
        choices = [{"title": chosen.title()}]
    back = None
    if chosen.year is not None:
        back = {"title": chosen.parent_title(), "link": link(chosen.parent())}
    return {"show": bool(choices), "back": back, "choices": choices}
