"""What many simulations came to, for people and as JSON."""

import json
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from tests.simulation.facts import Facts
from tests.simulation.history import CallEnding
from tests.simulation.run import Outcome, make_plan, simulate

__all__ = ["SeedResult", "Summary", "end_with_parent", "try_seed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """What one seed came to.

    Attributes:
        digest: of its history; the same in every replay.
        calls: how many ended in which way.
        runs: of functions.
        faults, violations: in words.
        cpu_seconds: that it took.
    """

    seed: int
    digest: str
    calls: dict[str, int]
    runs: int
    faults: tuple[str, ...]
    violations: tuple[str, ...]
    cpu_seconds: float

    @classmethod
    def of(cls, outcome: Outcome, cpu_seconds: float) -> "SeedResult":
        """Sum an outcome up."""
        facts = Facts(outcome.history)
        calls = Counter(
            call.detail if call.how is CallEnding.FAILED else str(call.how)
            for call in facts.calls.values()
        )
        return cls(
            seed=outcome.plan.seed,
            digest=outcome.history.digest(),
            calls=dict(calls),
            runs=len(facts.runs),
            faults=tuple(map(str, outcome.plan.faults)),
            violations=tuple(map(str, outcome.violations)),
            cpu_seconds=round(cpu_seconds, 3),
        )

    @classmethod
    def broken(cls, seed: int, faults: Iterable[str], reason: str) -> "SeedResult":
        """Sum up a simulation that did not come to its end."""
        return cls(
            seed=seed,
            digest="",
            calls={},
            runs=0,
            faults=tuple(faults),
            violations=(reason,),
            cpu_seconds=0.0,
        )

    def explain(self) -> str:
        """Say what is wrong, what went wrong before, and how to see it again."""
        lines = [f"seed {self.seed}:"]
        lines += [f"  {violation}" for violation in self.violations]
        lines.append("  after: " + ("; ".join(self.faults) or "no faults"))
        lines.append(f"  replay: scripts/simulate --seed {self.seed}")
        return "\n".join(lines)


def try_seed(seed: int) -> SeedResult:
    """Simulate what a seed stands for; what ends the simulation is its result, too."""
    started = time.process_time()
    plan = make_plan(seed)
    try:
        outcome = simulate(plan)
    except Exception as error:  # noqa: BLE001 - it is told with the seed that shows it
        return SeedResult.broken(seed, map(str, plan.faults), f"the simulation ended: {error!r}")
    return SeedResult.of(outcome, time.process_time() - started)


def end_with_parent() -> None:
    """Have this process end when the one that started it is gone, however that ended."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(slots=True)
class Summary:
    """What the seeds so far came to, together."""

    seeds: int = 0
    runs: int = 0
    cpu_seconds: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    failed: list[SeedResult] = field(default_factory=list)

    def add(self, result: SeedResult) -> None:
        """Count a result in."""
        self.seeds += 1
        self.runs += result.runs
        self.cpu_seconds += result.cpu_seconds
        self.calls.update(result.calls)
        self.faults += len(result.faults)
        if result.violations:
            self.failed.append(result)

    def to_json(self) -> str:
        """Return everything as a JSON object."""
        shown = {
            "seeds": self.seeds,
            "failed": [asdict(result) for result in self.failed],
            "faults": self.faults,
            "calls": dict(self.calls.most_common()),
            "runs": self.runs,
            "cpu_seconds": round(self.cpu_seconds, 1),
        }
        return json.dumps(shown, indent=2)

    def __str__(self) -> str:
        calls = ", ".join(f"{count} {how}" for how, count in self.calls.most_common())
        return (
            f"{self.seeds} seeds, {len(self.failed)} failed; {self.faults} faults; "
            f"{self.runs} runs; calls: {calls}"
        )
