"""The look of log lines, none of which shows a credential.

Every handler of the configuration carries ``RedactingFilter``; a test walks all loggers to see to
it. The filter settles the words of a record, traceback included, so whatever formats it afterwards
cannot bring a credential back.
"""

from __future__ import annotations

import codecs
import logging
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from brokers.logs.redaction import REDACTED, REDACTOR, Redactor
from openalgo_site.config.repeated_lines import RepeatedLines

__all__ = [
    "JsonFormatter",
    "LogFormat",
    "LogLevel",
    "RedactingFilter",
    "TextFormatter",
    "logging_config",
]

OUR_LOGGERS = ("pooling", "streaming", "brokers", "openalgo_site")
# Django gives these handlers of their own, which would print past the filter.
DJANGO_LOGGERS = ("django", "django.server")
# Of a library's message or field; whoever connects decides how long a path is that Django quotes.
MOST_CHARS = 2000
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}


class LogFormat(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """From which level on lines are written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class RedactingFilter(logging.Filter):
    """Settles a record's text and takes credentials out of it; lets every record pass.

    Messages and fields of libraries are cut behind ``MOST_CHARS``, and say how much is missing.

    Args:
        redactor: knows what to take out; None takes the process's own.
    """

    def __init__(self, redactor: Redactor | None = None) -> None:
        super().__init__()
        self._redactor = redactor or REDACTOR

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact message, traceback, stack and extra fields in place. Never raises."""
        redact = self._redactor.redact
        # Cut afterwards: half of a credential is not known as one.
        text = redact(_message(record))
        is_ours = record.name.partition(".")[0] in OUR_LOGGERS
        record.msg, record.args = text if is_ours else _cut(text), ()
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            record.exc_text = _TRACEBACKS.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        for name, value in extra_fields(record).items():
            said = self._redacted(name, value)
            setattr(record, name, _cut(said) if isinstance(said, str) and not is_ours else said)
        return True

    def _redacted(self, name: str, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        # A field's name may give its value away, as in a line of text.
        probe = f"{name}=value"
        if self._redactor.redact(probe) != probe:
            return REDACTED
        text = str(value)
        named = self._redactor.redact(f"{name}={text}")
        return REDACTED if named == f"{name}={REDACTED}" else self._redactor.redact(text)


class TextFormatter(logging.Formatter):
    """One line a record, whatever it quotes; a traceback follows on lines of its own.

    What others choose, such as an account's label or the words of a broker, may hold the end of a
    line and a whole other one behind it.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the line, with ``\\n`` and the like for what is not printable."""
        line = super().formatMessage(record)
        return line if line.isprintable() else "".join(map(_printable, line))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, ``process``.

    ``exception`` and ``stack`` hold tracebacks; the fields of ``extra=`` stand beside them.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON, on one line whatever it contains."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            "process": record.process,
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        line |= {name: value for name, value in extra_fields(record).items() if name not in line}
        try:
            return msgspec.json.encode(line, enc_hook=str).decode()
        except UnicodeEncodeError:  # half of a pair, which no bytes of UTF-8 stand for
            whole = {name: _whole(value) for name, value in line.items()}
            return msgspec.json.encode(whole, enc_hook=str).decode()


def logging_config(*, level: LogLevel, libraries_level: LogLevel, style: LogFormat) -> Any:
    """Return Django's ``LOGGING``: one handler, to standard error, for everything."""
    ours = {"handlers": ["console"], "level": level.value, "propagate": False}
    theirs = {"handlers": ["console"], "level": libraries_level.value, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "repeats": {"()": RepeatedLines, "ours": OUR_LOGGERS},
            "redact": {"()": RedactingFilter},
        },
        "formatters": {
            "text": {
                "()": TextFormatter,
                "fmt": "{asctime} {levelname:<7} {name}: {message}",
                "style": "{",
            },
            "json": {"()": JsonFormatter},
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": style.value,
                "filters": ["repeats", "redact"],
            }
        },
        "root": {"handlers": ["console"], "level": libraries_level.value},
        "loggers": {
            **dict.fromkeys(OUR_LOGGERS, ours),
            **dict.fromkeys(DJANGO_LOGGERS, theirs),
            # It warns of every attempt; who needed the connection says once a minute what is wrong.
            "psycopg.pool": {**theirs, "level": "ERROR"},
        },
    }


def extra_fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what the caller gave as ``extra=``."""
    return {name: value for name, value in vars(record).items() if name not in STANDARD_FIELDS}


def _cut(text: str) -> str:
    missing = len(text) - MOST_CHARS
    return f"{text[:MOST_CHARS]}... ({missing:,} more characters)" if missing > 0 else text


def _printable(sign: str) -> str:
    # Not ``encode``: a line may come while the process ends, when no codec can be looked up.
    return sign if sign.isprintable() else codecs.unicode_escape_encode(sign)[0].decode("ascii")


def _whole(value: object) -> object:
    return str(value).encode("utf-8", "backslashreplace").decode() if value is not None else None


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # Arguments that do not fit their format; a filter that raises would reach the caller.
        return f"{record.msg} {record.args}"


_TRACEBACKS = logging.Formatter()
