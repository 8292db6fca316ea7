"""Counters read from Redis and from the system."""

import os
import time

import pytest

from bench.machine import describe_machine, measure_noise, process_cpu, system_cpu
from bench.redis_server import command_counts, script_us, start_redis
from bench.requests import shares

COMMANDSTATS = b"""# Commandstats\r
cmdstat_get:calls=17,usec=40,usec_per_call=2.35,rejected_calls=0,failed_calls=0\r
cmdstat_evalsha:calls=3,usec=300,usec_per_call=100.00,rejected_calls=0,failed_calls=0\r
cmdstat_info:calls=2,usec=80,usec_per_call=40.00,rejected_calls=0,failed_calls=0\r
"""


def test_commands_are_counted_by_name_without_those_of_the_bench() -> None:
    assert command_counts(COMMANDSTATS) == {"get": 17, "evalsha": 3}


def test_time_within_scripts_is_that_of_evalsha_and_eval() -> None:
    assert script_us(COMMANDSTATS) == 300


async def test_server_tells_what_it_has_used() -> None:
    async with start_redis() as redis:
        before, empty = await redis.time_used(), await redis.used_memory()
        await redis.client.execute("EVAL", "for i = 1, 100000 do end return 1", 0)
        await redis.client.execute("SET", "key", b"x" * 100_000)
        after, filled = await redis.time_used(), await redis.used_memory()
    assert 0 < after.script_us - before.script_us <= 2 * (after.cpu_us - before.cpu_us)
    assert filled - empty >= 100_000


def test_cpu_of_a_process_grows_as_it_works() -> None:
    before, until = process_cpu(os.getpid()), time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert 0.0 < process_cpu(os.getpid()) - before < 1.0


def test_cpu_of_no_process_is_refused() -> None:
    with pytest.raises(FileNotFoundError):
        process_cpu(2**22 + 1)


def test_cpu_of_the_system_includes_that_of_a_process() -> None:
    assert system_cpu() >= process_cpu(os.getpid())


def test_machine_is_described_with_its_versions() -> None:
    machine = describe_machine(redis="6.2.14", noise=(measure_noise(),))
    assert machine.cpus >= 1
    assert machine.packages["trio"]
    assert machine.noise[0].fastest_ms <= machine.noise[0].median_ms <= machine.noise[0].slowest_ms


@pytest.mark.parametrize(
    ("workers", "processes", "expected"),
    [(1, 1, [1]), (100, 1, [100]), (1, 2, [1]), (5, 2, [3, 2])],
)
def test_workers_are_spread_evenly(workers: int, processes: int, expected: list[int]) -> None:
    assert shares(workers, processes) == expected
