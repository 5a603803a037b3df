"""Whose request it is, without a look-up: users by what opened a door, all others by address."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpResponse

from openalgo_site.turns import visitors as module
from openalgo_site.turns.requests import Visitor
from openalgo_site.turns.visitors import Visitors, VisitorsMiddleware


def shown(address: str = "10.0.0.1", *, session: str = "", key: str = "") -> dict[str, Any]:
    headers = [(b"host", b"localhost")]
    if session:
        headers.append((b"cookie", f"csrftoken=a; sessionid={session}".encode()))
    if key:
        headers.append((b"x-api-key", key.encode()))
    return {"type": "http", "client": (address, 5), "headers": headers}


def test_a_session_that_was_looked_up_is_its_users_at_every_address() -> None:
    visitors = Visitors()
    visitors.note_session("first", 7)
    visitors.note_session("second", 7)
    mine = Visitor(("session", 7), is_known=True)
    for at in range(100):
        assert visitors.of(shown(f"10.0.0.{at}", session="first")) == mine
        assert visitors.of(shown(f"10.0.0.{at}", session="second")) == mine


def test_keys_of_a_user_count_together_and_apart_from_its_sessions() -> None:
    visitors = Visitors()
    visitors.note_key("first", 7)
    visitors.note_key("second", 7)
    visitors.note_session("mine", 7)
    mine = Visitor(("key", 7), is_known=True)
    assert visitors.of(shown(key="first")) == visitors.of(shown(key="second")) == mine
    assert visitors.of(shown(key="first", session="mine")) == mine
    assert visitors.of(shown(session="mine")) != mine
    # What was learned as one is not the other.
    assert not visitors.of(shown(session="first")).is_known


@pytest.mark.parametrize("kind", ["session", "key"])
def test_whoever_invents_what_it_shows_counts_by_its_address(kind: str) -> None:
    visitors = Visitors()
    nobody = Visitor(("address", "10.0.0.1"), is_known=False)
    assert visitors.of(shown()) == nobody
    for at in range(1000):
        assert visitors.of(shown(**{kind: f"invented-{at}"})) == nobody
    networks = {visitors.of(shown(f"2001:db8::{at:x}", session=f"{at}")) for at in range(100)}
    assert len(networks) == 1, "an IPv6 network is one address"


def test_a_session_that_nobody_has_looked_up_yet_counts_by_its_first_address() -> None:
    visitors = Visitors()
    many = {visitors.of(shown(f"10.0.0.{at}", session="mine")) for at in range(100)}
    assert many == {Visitor(("address", "10.0.0.0"), is_known=False)}
    visitors.note_session("mine", 7)
    assert visitors.of(shown("10.0.0.9", session="mine")).is_known


def test_what_was_shown_longest_ago_is_forgotten() -> None:
    visitors = Visitors(most=2)
    for name in ("a", "b"):
        visitors.note_session(name, 1)
    assert visitors.of(shown(session="a")).is_known
    visitors.note_session("c", 1)
    assert [visitors.of(shown(session=name)).is_known for name in "abc"] == [True, False, True]
    for at in range(100):
        visitors.of(shown(session=f"invented-{at}"))
    assert len(visitors._addresses) == 2


def test_what_cannot_be_read_disturbs_nobody() -> None:
    visitors = Visitors()
    headers = [(b"cookie", b"\xff\x00;;=sessionid==\xfe"), (b"x-api-key", b"\xff" * 10_000)]
    scope: dict[str, Any] = {"type": "http", "client": None, "headers": headers}
    assert visitors.of(scope) == Visitor(("address", "unknown"), is_known=False)


@pytest.mark.parametrize(
    ("user_id", "status", "is_learned"), [("7", 200, True), ("7", 403, False), (None, 200, False)]
)
def test_a_session_is_learned_from_its_answer(
    user_id: str | None, status: int, is_learned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitors = Visitors()
    monkeypatch.setattr(module, "VISITORS", visitors)
    session = SessionStore()
    if user_id is not None:
        session["_auth_user_id"] = user_id
    session["seen"] = True
    session.save()
    request: Any = SimpleNamespace(session=session)
    middleware = VisitorsMiddleware(lambda _: HttpResponse())
    middleware.process_response(request, HttpResponse(status=status))
    key = session.session_key
    assert key
    assert visitors.of(shown(session=key)).is_known is is_learned


def test_a_session_that_nobody_looked_at_is_not_looked_up() -> None:
    class Untouched(SessionStore):
        def load(self) -> Any:
            raise AssertionError("it was looked up")

    answer = HttpResponse()
    middleware = VisitorsMiddleware(lambda _: answer)
    for request in (SimpleNamespace(), SimpleNamespace(session=Untouched("a"))):
        assert middleware.process_response(request, answer) is answer  # type: ignore[arg-type]
