"""Log lines: their forms, and that no handler shows a credential."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brokers.logs.redaction import REDACTED, Redactor
from openalgo_site.config.logs import (
    MOST_CHARS,
    JsonFormatter,
    LogFormat,
    LogLevel,
    RedactingFilter,
    TextFormatter,
    logging_config,
)

ROOT = Path(__file__).resolve().parents[4]
SECRET = "Zq7-Secret.Value"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    # Outside of the tree of loggers, so that no handler of the test runner sees its records.
    logger = logging.Logger("test.lines", logging.DEBUG)  # noqa: LOG001
    yield logger
    logger.handlers.clear()


def lines(logger: logging.Logger, *, as_json: bool = True) -> io.StringIO:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter("%(message)s"))
    redactor = Redactor()
    redactor.learn(["learned-by-heart"])
    handler.addFilter(RedactingFilter(redactor))
    logger.addHandler(handler)
    return out


def parsed(out: io.StringIO) -> dict[str, Any]:
    (line,) = out.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_is_one_object(logger: logging.Logger) -> None:
    out = lines(logger)
    logger.warning("pool %s: %d\nsymbols", "7", 3, extra={"action": "pool_opened", "pool": 7})
    line = parsed(out)
    assert line.pop("time").endswith("+00:00")
    assert isinstance(line.pop("process"), int)
    assert line == {
        "level": "warning",
        "logger": "test.lines",
        "message": "pool 7: 3\nsymbols",
        "action": "pool_opened",
        "pool": 7,
    }


def test_credentials_leave_messages_arguments_extras_and_tracebacks(
    logger: logging.Logger,
) -> None:
    out = lines(logger)
    try:
        raise RuntimeError(f"GET /?access_token={SECRET}") from ValueError("learned-by-heart")
    except RuntimeError:
        logger.exception(
            "api_key=%s for %s",
            SECRET,
            {"password": SECRET},
            extra={"api_key": SECRET, "url": f"wss://x/?token={SECRET}", "what": object()},
            stack_info=True,
        )
    text = out.getvalue()
    assert SECRET not in text
    assert "learned-by-heart" not in text
    line = parsed(out)
    assert "RuntimeError" in line["exception"]
    assert "Stack" in line["stack"]
    assert line["api_key"] == REDACTED
    assert line["what"].startswith("<object")


def test_text_lines_are_redacted_too(logger: logging.Logger) -> None:
    out = lines(logger, as_json=False)
    try:
        raise RuntimeError("learned-by-heart")
    except RuntimeError:
        logger.exception("token=%s", SECRET)
    assert SECRET not in out.getvalue()
    assert "learned-by-heart" not in out.getvalue()
    assert "RuntimeError" in out.getvalue()


def test_arguments_that_do_not_fit_do_not_break_the_caller(logger: logging.Logger) -> None:
    out = lines(logger)
    logger.warning("%d symbols", f"api_key={SECRET}")
    assert SECRET not in out.getvalue()
    assert "%d symbols" in parsed(out)["message"]


QUOTED = "main\n2026-11-30 09:15:00,000 INFO    pooling: pool 7 is live\r\x1b[2J\u2028\x85\udc80 €"


@pytest.mark.parametrize("style", list(LogFormat))
def test_what_a_line_quotes_never_becomes_a_line_of_its_own(
    logger: logging.Logger, style: LogFormat
) -> None:
    """A label, or the words of a broker, may hold the end of a line and a line behind it."""
    config = logging_config(level=LogLevel.DEBUG, libraries_level=LogLevel.DEBUG, style=style)
    configurator: Any = logging.config.DictConfigurator(config)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(configurator.configure_formatter(config["formatters"][style.value]))
    logger.addHandler(handler)
    logger.warning("pool %s: paused", QUOTED)
    line, *more = out.getvalue().split("\n")
    assert more == [""]
    assert "pool main\\n2026-11-30" in line
    assert "€" in line
    if style is LogFormat.TEXT:
        assert line.isprintable()
    else:
        assert QUOTED.replace("\udc80", "\\udc80") in json.loads(line)["message"]


def test_a_traceback_stays_below_its_line(logger: logging.Logger) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(TextFormatter("{message}", style="{"))
    logger.addHandler(handler)
    try:
        raise RuntimeError("it broke")
    except RuntimeError:
        logger.exception("a task failed")
    first, *rest = out.getvalue().splitlines()
    assert first == "a task failed"
    assert rest[-1] == "RuntimeError: it broke"


@pytest.mark.parametrize("style", list(LogFormat))
def test_every_configured_handler_redacts(style: LogFormat) -> None:
    config = logging_config(level=LogLevel.DEBUG, libraries_level=LogLevel.DEBUG, style=style)
    assert config["handlers"]
    assert all(
        handler["filters"] == ["repeats", "redact"] for handler in config["handlers"].values()
    )
    formatters = {handler["formatter"] for handler in config["handlers"].values()}
    assert formatters <= set(config["formatters"])


WALK = """
import django, logging
django.setup()
import openalgo_site.asgi, pooling.worker.worker, uvicorn, websockets, httpx2
from openalgo_site.config.logs import RedactingFilter
loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict] + [logging.root]
for logger in loggers:
    for handler in logger.handlers:
        if isinstance(handler, logging.NullHandler):
            continue
        assert any(isinstance(f, RedactingFilter) for f in handler.filters), (logger, handler)
logging.getLogger("django.request").error("GET /?api_key=%s", "SECRETVALUE")
logging.getLogger("websockets.client").debug("> GET /?api_key=%s", "SECRETVALUE")
logging.getLogger("pooling").debug("key %s", django.conf.settings.SECRET_KEY)
"""


@pytest.mark.timeout(600)
def test_no_logger_of_a_running_site_has_another_handler(tmp_path: Path) -> None:
    """Django, uvicorn and the rest included, in a process of its own at DEBUG.

    It imports the whole site, which is seconds of CPU and minutes on a machine that is busy.
    """
    result = subprocess.run(
        [sys.executable, "-c", WALK],
        cwd=ROOT,
        env={
            "DJANGO_SETTINGS_MODULE": "openalgo_site.settings",
            "DATA_DIR": str(tmp_path),
            "SECRET_KEY": "planted-django-secret-key",
            "LOG_LEVEL": "DEBUG",
            "LOG_LIBRARIES_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr
    found = [json.loads(line) for line in result.stderr.splitlines()]
    loggers = {line["logger"] for line in found}
    assert {"django.request", "websockets.client", "pooling"} <= loggers
    assert "SECRETVALUE" not in result.stderr
    assert "planted-django" not in result.stderr


@pytest.mark.parametrize("as_json", [True, False])
def test_what_a_client_sent_makes_no_long_line_and_no_half_credential(as_json: bool) -> None:
    logger = logging.Logger("django.request")  # noqa: LOG001 - outside of the tree, as above
    secret = "learned-by-heart"
    path = "x" * (MOST_CHARS - len("Not Found: /") - 5) + secret + "y" * 20_000
    out = lines(logger, as_json=as_json)
    logger.warning("%s: /%s", "Not Found", path, extra={"request": f"<GET '/{path}'>"})
    written = out.getvalue()
    assert "more characters)" in written
    assert len(written) < 2 * MOST_CHARS + 500
    assert secret[:5] not in written
    ours = logging.Logger("openalgo_site.page")  # noqa: LOG001
    out = lines(ours, as_json=as_json)
    ours.warning("z" * 20_000)
    assert "z" * 20_000 in out.getvalue()


def test_a_line_that_is_said_while_the_process_ends_is_told_like_any_other() -> None:
    """Tasks that nobody asked for are told of at the very end, when no codec can be looked up."""
    program = """
import builtins, logging, logging.config
from openalgo_site.config.logs import LogFormat, LogLevel, logging_config
logging.config.dictConfig(
    logging_config(level=LogLevel.INFO, libraries_level=LogLevel.INFO, style=LogFormat.TEXT)
)
class Last:
    def __del__(self, warning=logging.getLogger("pooling").warning):
        warning("the last\\nline")
builtins.last = Last()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "pooling: the last\\nline" in done.stderr
    assert "Traceback" not in done.stderr
