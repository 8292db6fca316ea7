"""The simulation finds what is broken on purpose."""

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import simulate

# Each is found by one of the first seeds; with this many, changes elsewhere don't matter.
_SEEDS = 60


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_is_broken_on_purpose_is_found(name: str) -> None:
    mutation = MUTATIONS[name]
    with mutation.apply():
        found = any(
            violation.invariant == mutation.breaks
            for seed in range(_SEEDS)
            for violation in simulate(mutation.plan(seed)).violations
        )
    assert found, f"{_SEEDS} seeds did not show that {name}"


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_shows_it_is_well_unless_it_is_broken(name: str) -> None:
    assert not simulate(MUTATIONS[name].plan(0)).violations
