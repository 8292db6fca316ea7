"""The bench as a program."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from bench.__main__ import main


def test_row_that_cannot_be_read_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["requests", "--rows", "many"])
    assert result.exit_code == 2
    assert "'many' is not WORKERSxCALLERS" in result.output


def test_server_that_cannot_be_started_is_told_in_a_line() -> None:
    result = CliRunner().invoke(main, ["requests", "--redis-server", "/nonexistent/redis-server"])
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: ")


@pytest.mark.process
def test_short_run_measures_requests_and_prints_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "requests", "--json", "--rows=2x2", "--seconds=0.5",
         "--warm-seconds=0.1"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["requests"]
    assert (row["workers"], row["errors"]) == (2, {})
    assert 2.9 < row["round_trips"] < 5


@pytest.mark.parametrize("numbers", ["", "many", "10,0", "10,-1"])
def test_numbers_of_connections_that_are_none_are_a_usage_error(numbers: str) -> None:
    result = CliRunner().invoke(main, ["state", "--connections", numbers])
    assert result.exit_code == 2


@pytest.mark.process
def test_short_run_measures_the_state_store() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "state", "--json", "--connections=1,50",
         "--state-rounds=1"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)["state"]
    assert len(state["rows"]) == 8
    assert [calls["scripts"] for calls in state["calls"]] == [3.0, 3.0]
    # A record and its places in the indexes take no less, and no noise makes it so much more.
    assert [memory["connections"] for memory in state["memory"]] == [50, 50]
    assert all(500 < memory["bytes_each"] < 5000 for memory in state["memory"])
