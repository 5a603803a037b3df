"""The verbs of a local exchange, as another process calls them: text in, plain values out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["VERBS", "ControlError", "run_verb"]

# verb -> the type of each parameter; defaults are those of the method of the same name
VERBS: Mapping[str, Mapping[str, Any]] = {
    "drop": {"connection": int},
    "go_silent": {"connection": int},
    "speak": {},
    "refuse": {"status": int, "retry_after": float, "times": int},
    "accept": {},
    "delay": {"seconds": float, "handshakes": bool, "frames": bool},
    "reset_record": {},
    "expire_token": {},
    "set_token": {"access_token": str},
    "send_order": {"order": dict[str, Any]},
    "send_error": {"text": str},
    "send_message": {"text": str},
    "send_malformed": {},
    "set_rate": {"rate": float},
    "set_market_status": {"segment": str, "status": str},
    "send_shutdown": {},
    "send_disconnect": {"reason": int},
    "meet": {"fault": str, "path": str},
    "move_clock_to": {"hour": int, "minute": int},
    "advance_clock": {"seconds": float},
    "put_clock_off": {"seconds": float},
    "end_tokens": {},
    "register": {"redirect": str},
    "totp": {"user_id": str},
    "make_analytics_token": {"user_id": str},
    "make_web_token": {"user_id": str},
    "set_data_plan": {"data_plan": str},
    "set_publisher": {"is_publisher": bool},
}


class ControlError(ValueError):
    """A verb is unknown to this exchange or its parameters do not fit; says which."""


def run_verb(exchange: object, verb: str, query: Mapping[str, str]) -> object:
    """Call a verb with parameters from a query string and return what it returned.

    Raises:
        ControlError: unknown verb or parameter, a missing one, or a value that it refuses.
    """
    method = getattr(exchange, verb, None) if verb in VERBS else None
    if method is None:
        known = ", ".join(sorted(name for name in VERBS if hasattr(exchange, name)))
        raise ControlError(f"unknown verb; known: {known}")
    types = VERBS[verb]
    if strangers := sorted(set(query) - set(types)):
        raise ControlError(f"unknown parameter {', '.join(strangers)}")
    try:
        arguments = {name: _convert(text, types[name]) for name, text in query.items()}
        inspect.signature(method).bind(**arguments)
        return method(**arguments)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise ControlError(str(error)) from None


def _convert(text: str, wanted: Any) -> Any:
    if wanted is str:
        return text
    if wanted in (int, float, bool):
        return msgspec.convert(text, wanted, strict=False)
    return msgspec.json.decode(text, type=wanted)
