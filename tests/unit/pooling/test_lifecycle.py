"""Which states of a connection may follow which."""

from __future__ import annotations

from itertools import product

import pytest

from pooling.exceptions import IllegalTransitionError
from pooling.lifecycle import LEGAL_TRANSITIONS, UP_STATES, ConnectionState, transition

STATES = list(ConnectionState)


@pytest.mark.parametrize(("first", "second"), list(product(STATES, STATES)))
def test_every_single_step_is_taken_or_refused(first, second):
    """A step is legal exactly if the table says so, and staying put is no step."""
    if second in LEGAL_TRANSITIONS[first]:
        assert transition(first, second) is second
    else:
        with pytest.raises(IllegalTransitionError):
            transition(first, second)


def test_every_pair_of_steps_from_every_state():
    """After any legal step the next one is judged from where the first one led."""
    legal = 0
    for first, second, third in product(STATES, repeat=3):
        if second not in LEGAL_TRANSITIONS[first]:
            continue
        state = transition(first, second)
        if third in LEGAL_TRANSITIONS[second]:
            assert transition(state, third) is third
            legal += 1
        else:
            with pytest.raises(IllegalTransitionError):
                transition(state, third)
    assert legal > 100


def test_a_closed_connection_stays_closed():
    assert LEGAL_TRANSITIONS[ConnectionState.CLOSED] == frozenset()


def test_a_draining_connection_can_only_close():
    assert LEGAL_TRANSITIONS[ConnectionState.DRAINING] == {ConnectionState.CLOSED}


def test_an_open_socket_is_never_reached_without_connecting():
    """Nothing is called connected because a call returned: only the handshake's end leads there."""
    for state in STATES:
        targets = LEGAL_TRANSITIONS[state]
        if ConnectionState.AUTHENTICATING in targets:
            assert state is ConnectionState.CONNECTING
        if state not in UP_STATES and state is not ConnectionState.AUTHENTICATING:
            assert not targets & UP_STATES


def test_every_waiting_state_may_connect_again():
    """No failure is for good: each waiting state leads back to connecting."""
    for state in (
        ConnectionState.BACKOFF,
        ConnectionState.AUTH_REQUIRED,
        ConnectionState.RATE_LIMITED,
        ConnectionState.IDLE,
    ):
        assert ConnectionState.CONNECTING in LEGAL_TRANSITIONS[state]
