"""Fixtures of the RPC tests."""

import pytest
from trio.testing import MockClock


@pytest.fixture
def patient_clock() -> MockClock:
    """A clock that jumps, but only when real sockets have had time to deliver."""
    return MockClock(autojump_threshold=0.05)
