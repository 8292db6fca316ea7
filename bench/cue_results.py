"""What evaluating and checking definitions was measured to take, and how much that may be."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from bench.figures import Target
from bench.machine import DISTURBED, Machine

__all__ = ["CueReport", "Evaluation", "Run", "Runs"]

MOST_EVALUATION_MS = 20.0
MOST_FILES_SECONDS = 10.0  # for a thousand
FILES = 1000
MOST_HELP_SECONDS = 0.5
MOST_ONE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One definition, evaluated again and again by one process.

    Attributes:
        name: of its file.
        size: its bytes.
        took_ms: the times, in their order; the first one warms up the definitions.
        cpu_ms: of all of them.
    """

    name: str
    size: int
    took_ms: Sequence[float]
    cpu_ms: float

    @property
    def first_ms(self) -> float:
        return self.took_ms[0]

    @property
    def median_ms(self) -> float:
        return median(self.took_ms)

    @property
    def each_cpu_ms(self) -> float:
        return self.cpu_ms / len(self.took_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a command as a process, in seconds.

    Attributes:
        cpu: of the process, user and system.
    """

    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """A command, run some times.

    Attributes:
        command: as it would be typed after ``python -m connect``.
    """

    command: str
    runs: Sequence[Run]

    @property
    def seconds(self) -> float:
        return median(run.seconds for run in self.runs)

    @property
    def fastest(self) -> float:
        return min(run.seconds for run in self.runs)

    @property
    def cpu(self) -> float:
        return median(run.cpu for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class CueReport:
    """All that one run measured.

    Attributes:
        number: of the files that were checked at once.
        other_cpus: kept busy by anything else meanwhile.
    """

    machine: Machine
    evaluation: Evaluation
    files: Runs
    number: int
    help: Runs
    one: Runs
    other_cpus: float

    @property
    def targets(self) -> tuple[Target, ...]:
        """The bounds that the figures have, for medians."""
        disturbed = self.other_cpus > DISTURBED
        a_thousand = self.files.seconds * FILES / self.number
        found = (
            ("largest definition evaluated, ms", self.evaluation.median_ms, MOST_EVALUATION_MS),
            ("1,000 files checked, s", a_thousand, MOST_FILES_SECONDS),
            ("--help, s", self.help.seconds, MOST_HELP_SECONDS),
            ("functions check of one file, s", self.one.seconds, MOST_ONE_SECONDS),
        )
        return tuple(
            Target(name=name, value=value, bound=bound, disturbed=disturbed)
            for name, value, bound in found
        )

    def to_json(self) -> str:
        """Write everything as one JSON object."""
        evaluation = self.evaluation
        figures = {
            "machine": asdict(self.machine),
            "evaluation": asdict(evaluation) | {"median_ms": evaluation.median_ms},
            "commands": [
                asdict(runs) | {"seconds": runs.seconds, "cpu": runs.cpu}
                for runs in (self.files, self.help, self.one)
            ],
            "files": self.number,
            "other_cpus": self.other_cpus,
            "targets": [asdict(target) | {"met": target.met} for target in self.targets],
        }
        return json.dumps(figures, indent=2)
