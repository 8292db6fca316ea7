"""Some seeds in the order of the tests; ``scripts/simulate`` tries as many as one likes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.simulation.__main__ import main
from tests.simulation.faults import FaultKind
from tests.simulation.results import SeedResult, try_seed
from tests.simulation.run import make_plan, simulate

ROOT = Path(__file__).parents[2]

# Enough for every kind of fault.
SEEDS = 40


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_wrong(seed: int) -> None:
    result = try_seed(seed)
    assert not result.violations, result.explain()


def test_these_seeds_have_every_kind_of_fault() -> None:
    kinds = {fault.kind for seed in range(SEEDS) for fault in make_plan(seed).faults}
    assert kinds == set(FaultKind)


def test_the_same_seed_gives_the_same_history() -> None:
    first, second = (simulate(make_plan(6)).history for _ in range(2))
    assert list(first) == list(second)


def test_what_ran_before_makes_no_difference() -> None:
    alone = try_seed(12).digest
    try_seed(11)
    assert try_seed(12).digest == alone


def test_the_hashes_of_texts_make_no_difference() -> None:
    """Sets have another order in each process, unless it is told otherwise."""
    digests = {
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "22"],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_another_seed_gives_another_history() -> None:
    assert try_seed(1).digest != try_seed(2).digest


def test_a_simulation_that_breaks_is_told_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("no network today")

    monkeypatch.setattr("tests.simulation.run.Network", broken)
    result = try_seed(3)
    assert result.violations == ("the simulation ended: RuntimeError('no network today')",)


def test_a_failed_seed_is_told_with_the_command_that_replays_it() -> None:
    result = SeedResult.broken(77, ["kill gw-0 for 1.000 s"], "it went wrong")
    assert result.explain() == (
        "seed 77:\n  it went wrong\n  after: kill gw-0 for 1.000 s\n"
        "  replay: scripts/simulate --seed 77"
    )


def test_the_command_counts_what_it_simulated() -> None:
    run = CliRunner().invoke(main, ["--seeds", "2", "--jobs", "1", "--json"])
    assert run.exit_code == 0
    assert '"seeds": 2,' in run.stdout


def test_the_command_fails_if_a_seed_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tests.simulation.__main__.try_seed", lambda seed: SeedResult.broken(seed, [], "wrong")
    )
    run = CliRunner().invoke(main, ["--seeds", "1", "--first", "9", "--jobs", "1"])
    assert run.exit_code == 1
    assert "replay: scripts/simulate --seed 9" in run.stderr


def test_the_command_prints_the_history_of_one_seed() -> None:
    run = CliRunner().invoke(main, ["--seed", "4"])
    assert f"digest {try_seed(4).digest}" in run.stdout


def test_the_command_shares_the_work() -> None:
    run = CliRunner().invoke(main, ["--seeds", "2", "--jobs", "2"])
    assert run.stdout.startswith("2 seeds, 0 failed")
