"""Words of a change in the history of an object: which field, from what, to what.

Credentials are named and never quoted, and of an address only what comes before its query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django import forms

__all__ = ["change_message", "field_changes"]

# Turns (field name, value) into words.
Words = Callable[[str, Any], str]


def change_message(
    form: forms.ModelForm[Any],
    formsets: Sequence[Any],
    *,
    add: bool,
    words: Words,
    is_secret: Callable[[str], bool],
) -> list[dict[str, Any]]:
    """Return Django's structure for ``LogEntry.change_message``, with old and new values in it.

    Args:
        form: the object's own form, saved.
        formsets: those of its inlines, saved. A new row changes from its defaults.
        add: whether the object is new.
        words: how a value reads.
        is_secret: which fields are named only.
    """
    own = list(field_changes(form, words=words, is_secret=is_secret))
    message: list[dict[str, Any]] = []
    if add:
        message.append({"added": {}})
    elif own:
        message.append({"changed": {"fields": own}})
    for formset in formsets:
        for row in formset.forms:
            if not row.has_changed() or row.instance.pk is None:
                continue
            fields = list(field_changes(row, words=words, is_secret=is_secret))
            if fields:
                name = str(row.instance._meta.verbose_name)
                changed = {"name": name, "object": str(row.instance), "fields": fields}
                message.append({"changed": changed})
    return message


def field_changes(
    form: forms.ModelForm[Any], *, words: Words, is_secret: Callable[[str], bool]
) -> Iterator[str]:
    """Yield one phrase for each changed field: ``max connections: 3 → 2``."""
    for name in form.changed_data:
        label = str(form.fields[name].label or name)
        if is_secret(name):
            yield f"{label}: replaced"
            continue
        old, new = form[name].initial, form.cleaned_data.get(name)
        if form.instance.pk is not None and name == form.instance._meta.pk.name:
            continue
        yield f"{label}: {words(name, old)} → {words(name, new)}"
