"""Settings of an account at a broker: declared once, read from JSON or text, stored if changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from brokers.contract import BrokerCapabilities
from brokers.exceptions import BrokerConfigError
from brokers.registry import BrokerRegistry, default_registry
from brokers.settings import BrokerSettings, SettingField, changed, fields_of, parse, setting
from pooling.testing import FakeAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings(BrokerSettings):
    acks: bool = setting(True, label="Acknowledge", help_text="As the official client does.")
    symbols: int = setting(
        5000, label="Symbols", help_text="As the plan says.", minimum=5000, maximum=200_000
    )
    wait: float = setting(
        1.5, label="Wait (seconds)", help_text="Before it tries again.", minimum=0
    )
    longest: float = setting(60.0, label="Longest wait (seconds)", help_text="Of all.", maximum=900)
    plan: str = setting(
        "basic",
        label="Plan",
        help_text="What is paid.",
        choices=(("basic", "Basic"), ("plus", "+")),
    )
    source: str = setting("TickPool", label="Name", help_text="How we call ourselves.", maximum=12)

    def _check(self) -> None:
        if self.wait > self.longest:
            raise ValueError("wait must not be above longest")


class PlanAdapter(FakeAdapter):
    settings: ClassVar[PlanSettings] = PlanSettings()

    @classmethod
    def capabilities_with(cls, settings: PlanSettings) -> BrokerCapabilities:
        return replace(cls.capabilities, symbols_per_connection=settings.symbols)


def test_a_field_says_all_that_a_form_needs() -> None:
    fields = {field.name: field for field in fields_of(PlanSettings)}
    assert list(fields) == ["acks", "symbols", "wait", "longest", "plan", "source"]
    assert [field.kind for field in fields.values()] == [bool, int, float, float, str, str]
    symbols = fields["symbols"]
    assert (symbols.label, symbols.help_text, symbols.default) == (
        "Symbols",
        "As the plan says.",
        5000,
    )
    assert (symbols.minimum, symbols.maximum) == (5000, 200_000)
    assert fields["plan"].choices == (("basic", "Basic"), ("plus", "+"))


def test_a_field_that_is_no_setting_is_a_mistake_of_the_class() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Bare(BrokerSettings):
        number: int = 3

    with pytest.raises(TypeError, match=r"Bare\.number must be made by setting\(\)"):
        fields_of(Bare)


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("acks", False, False),
        ("acks", "off", False),
        ("acks", " Yes ", True),
        ("acks", "0", False),
        ("symbols", 6000, 6000),
        ("symbols", 6000.0, 6000),
        ("symbols", " 6000", 6000),
        ("wait", 2, 2.0),
        ("wait", "2.5", 2.5),
        ("wait", "0", 0.0),
        ("plan", "plus", "plus"),
        ("source", " abc ", "abc"),
    ],
)
def test_json_and_text_are_read_as_the_settings_own_kind(name: str, given: Any, read: Any) -> None:
    value = getattr(parse(PlanSettings, {name: given}), name)
    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize(
    ("name", "given", "mends"),
    [
        ("acks", "maybe", "on or off, not 'maybe'"),
        ("acks", 1, "on or off, not 1"),
        ("symbols", 4999, "a whole number from 5000 to 200000, not 4999"),
        ("symbols", 200_001, "a whole number from 5000 to 200000"),
        ("symbols", "6e3", "a whole number"),
        ("symbols", 6000.5, "a whole number"),
        ("symbols", True, "a whole number"),
        ("symbols", None, "a whole number"),
        ("symbols", "9" * 5000, "a whole number"),
        ("wait", -0.1, "a number of at least 0, not -0.1"),
        ("wait", "nan", "a number of at least 0"),
        ("wait", float("inf"), "a number of at least 0"),
        ("wait", 10**400, "a number of at least 0"),
        ("longest", 901, "a number of at most 900, not 901"),
        ("plan", "gold", "one of basic, plus, not 'gold'"),
        ("plan", ["basic"], "one of basic, plus"),
        ("source", "longer than it may be", "a text of at most 12 characters"),
        ("source", "a\nb", "a text of at most 12 characters"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(name: str, given: Any, mends: str) -> None:
    with pytest.raises(BrokerConfigError) as refused:
        parse(PlanSettings, {name: given})
    assert f"setting {name}: {mends}" in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("kind", [int, float])
def test_a_switch_is_no_number(kind: Any) -> None:
    field = SettingField(name="n", kind=kind, default=kind(0), label="N", help_text="N.")
    assert field.read("1") == 1
    with pytest.raises(BrokerConfigError, match="number, not True"):
        field.read(True)


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BrokerConfigError, match="unknown setting 'simbols'; known: acks, symbols,"):
        parse(PlanSettings, {"simbols": 6000})
    with pytest.raises(BrokerConfigError, match="unknown setting 'x'; there are none"):
        parse(BrokerSettings, {"x": 1})


def test_settings_that_do_not_fit_one_another_are_refused() -> None:
    with pytest.raises(BrokerConfigError, match="wait must not be above longest"):
        parse(PlanSettings, {"wait": 61})
    with pytest.raises(ValueError, match="wait must not be above longest"):
        PlanSettings(wait=61)
    with pytest.raises(ValueError, match="from 5000 to 200000"):
        PlanSettings(symbols=1)


def test_only_what_differs_is_stored_and_it_reads_back() -> None:
    assert changed(PlanSettings()) == {}
    assert changed(parse(PlanSettings, {"symbols": 5000, "acks": "on"})) == {}
    settings = parse(PlanSettings, {"symbols": "6000", "acks": "off", "wait": 1})
    assert changed(settings) == {"symbols": 6000, "acks": False, "wait": 1.0}
    assert parse(PlanSettings, changed(settings)) == settings


def test_the_adapter_class_of_an_account_has_its_settings_and_capabilities() -> None:
    configured = PlanAdapter.with_settings({"symbols": 6000})
    assert issubclass(configured, PlanAdapter)
    assert configured.settings == PlanSettings(symbols=6000)
    assert configured.capabilities.symbols_per_connection == 6000
    assert configured.__name__ == "PlanAdapter"
    assert PlanAdapter.settings == PlanSettings()
    assert PlanAdapter.capabilities.symbols_per_connection == 3
    assert configured().settings.symbols == 6000


def test_equal_settings_give_the_same_class_and_the_defaults_the_brokers_own() -> None:
    assert PlanAdapter.with_settings({}) is PlanAdapter
    assert PlanAdapter.with_settings({"symbols": "5000"}) is PlanAdapter
    assert PlanAdapter.with_settings({"wait": 2}) is PlanAdapter.with_settings({"wait": "2.0"})
    assert PlanAdapter.with_settings({"wait": 2}) is not PlanAdapter.with_settings({"wait": 3})


def test_the_registry_gives_the_configured_class() -> None:
    registry = BrokerRegistry()
    registry.register(PlanAdapter)
    assert registry.get("fake") is PlanAdapter
    assert registry.get("fake", {}) is PlanAdapter
    assert registry.get("fake", {"symbols": 7000}).capabilities.symbols_per_connection == 7000
    with pytest.raises(BrokerConfigError, match=r"Fake.*setting symbols: a whole number from"):
        registry.get("fake", {"symbols": 1})


def test_a_broker_without_settings_refuses_any() -> None:
    assert fields_of(type(FakeAdapter.settings)) == ()
    with pytest.raises(BrokerConfigError, match="unknown setting 'symbols'; there are none"):
        FakeAdapter.with_settings({"symbols": 1})


@pytest.mark.parametrize("adapter", list(default_registry()), ids=lambda it: it.capabilities.name)
def test_every_broker_explains_its_settings(adapter: Any) -> None:
    """A form without a label or a help text is no form for people."""
    for field in fields_of(type(adapter.settings)):
        assert field.label
        assert field.help_text.endswith(".")
    assert changed(adapter.settings) == {}
    assert adapter.capabilities_with(adapter.settings) == adapter.capabilities
