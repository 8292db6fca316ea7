"""What a mutation is, and what many are made of."""

import hashlib
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from unittest import mock

from connect.state.commands import Script
from tests.simulation.run import Plan, make_plan
from tests.simulation.workload import Demand

__all__ = ["Mutation", "edit", "long"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A change for the worse.

    Attributes:
        apply: makes the change, for the length of a block.
        breaks: the invariant that does not hold then.
        plan: draws what shows it, from a seed.
    """

    apply: Callable[[], AbstractContextManager[object]]
    breaks: str
    plan: Callable[[int], Plan] = make_plan


def edit(module: object, name: str, old: str, new: str) -> AbstractContextManager[object]:
    """Change a script in one place, for the length of a block."""
    script: Script = getattr(module, name)
    assert script.text.count(old) == 1, f"{script.name}.lua has changed"
    text = script.text.replace(old, new)
    sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return mock.patch.object(module, name, replace(script, text=text, sha1=sha1))


def long(demand: Demand, rng: random.Random) -> Demand:
    """Have it run for longer than a lease, and its caller wait for it."""
    return replace(demand, seconds=rng.uniform(25, 45), patience=None, twice_after=None)
