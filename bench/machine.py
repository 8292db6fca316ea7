"""The machine that was measured on, what else it was doing, and the CPU of processes."""

import os
import platform
import statistics
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

__all__ = [
    "DISTURBED",
    "Machine",
    "Noise",
    "describe_machine",
    "measure_noise",
    "process_cpu",
    "process_descriptors",
    "process_memory",
    "system_cpu",
]

# CPUs busy with something else at which rates and latencies say little about the service.
DISTURBED = 0.2

_PACKAGES = (
    "connect-gateway", "trio", "trio-websocket", "trio-asyncio", "grpclib", "betterproto",
    "redis", "hiredis", "structlog",
)  # fmt: skip
_TICKS = os.sysconf("SC_CLK_TCK")
_SPINS = 15
_SPIN_STEPS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How steadily the machine runs: one fixed piece of work, repeated.

    Attributes:
        fastest_ms, median_ms, slowest_ms: it took so long.
        load: the average number of runnable tasks over the last minute.
    """

    fastest_ms: float
    median_ms: float
    slowest_ms: float
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it ran. Attributes say it; noise is from before and after the measurements."""

    cpus: int
    model: str
    system: str
    python: str
    redis: str
    packages: dict[str, str]
    noise: tuple[Noise, ...]


def describe_machine(*, redis: str, noise: tuple[Noise, ...]) -> Machine:
    """Describe this machine.

    Args:
        redis: the server's version; empty where none takes part.
        noise: as measured.
    """
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = "not installed"
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        model=_model(),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        redis=redis,
        packages=packages,
        noise=noise,
    )


def measure_noise() -> Noise:
    """Do the fixed piece of work some times (about 0.2 s), and see how its time varies."""
    took = []
    for _ in range(_SPINS):
        started = time.perf_counter()
        total = 0
        for step in range(_SPIN_STEPS):
            total += step
        took.append((time.perf_counter() - started) * 1000)
    return Noise(
        fastest_ms=min(took),
        median_ms=statistics.median(took),
        slowest_ms=max(took),
        load=os.getloadavg()[0],
    )


def process_cpu(pid: int) -> float:
    """Return the seconds of CPU, user and system, that a process has used so far.

    Raises:
        FileNotFoundError: there is no such process, or no Linux.
    """
    # The name, in parentheses, may hold anything; the fields after it are numbers.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def process_memory(pid: int) -> int:
    """Return the bytes of memory that only this process uses, and has written to.

    Raises:
        FileNotFoundError: there is no such process, or no Linux.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise FileNotFoundError(f"process {pid} has no memory to speak of")


def process_descriptors(pid: int) -> int:
    """Return how many files and sockets a process has open.

    Raises:
        FileNotFoundError: there is no such process, or no Linux.
    """
    return len(os.listdir(f"/proc/{pid}/fd"))


def system_cpu() -> float:
    """Return the seconds that all CPUs have been busy for, stolen time included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
