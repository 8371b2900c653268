"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

import tally
from forked import Forks

# Two cores shared with other work: a slow example is no failure.
settings.register_profile("trainproof", deadline=None)
settings.load_profile("trainproof")


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Fresh processes that have torch imported already."""
    server = Forks()
    yield server
    server.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many honest replays there were."""
    if tally.summary():
        terminalreporter.write_line(tally.summary())
