"""Counters read from Redis and from the system."""

import os
import time

import pytest

from bench.machine import describe_machine, measure_noise, process_cpu, system_cpu
from bench.redis_server import client_memory, command_counts, script_us, start_redis
from bench.requests import shares
from connect.state.redis_client import open_redis

COMMANDSTATS = b"""# Commandstats\r
cmdstat_get:calls=17,usec=40,usec_per_call=2.35,rejected_calls=0,failed_calls=0\r
cmdstat_evalsha:calls=3,usec=300,usec_per_call=100.00,rejected_calls=0,failed_calls=0\r
cmdstat_info:calls=2,usec=80,usec_per_call=40.00,rejected_calls=0,failed_calls=0\r
"""


def test_commands_are_counted_by_name_without_those_of_the_bench() -> None:
    assert command_counts(COMMANDSTATS) == {"get": 17, "evalsha": 3}


def test_time_within_scripts_is_that_of_evalsha_and_eval() -> None:
    assert script_us(COMMANDSTATS) == 300


async def test_server_tells_what_time_it_has_used() -> None:
    found: list[tuple[float, float]] = []
    async with start_redis() as redis:
        for _ in range(10):
            before = await redis.time_used()
            await redis.client.execute("EVAL", "for i = 1, 100000 do end return 1", 0)
            after = await redis.time_used()
            found.append((after.script_us - before.script_us, after.cpu_us - before.cpu_us))
    assert all(script > 0 for script, _ in found)
    # The time within scripts goes on when the machine does something else; not every time.
    assert any(script <= 2 * cpu for script, cpu in found)


async def test_memory_of_a_server_is_what_it_stores_not_what_its_clients_send() -> None:
    async with start_redis() as redis:
        await redis.client.execute("SET", "key", b"")
        empty = await redis.used_memory()
        await redis.client.execute("SET", "key", b"x" * 100_000)
        filled = await redis.used_memory()
        async with open_redis(redis.url) as other:
            await other.execute("ECHO", b"x" * 1_000_000)
            beside = await redis.used_memory()
    assert 100_000 <= filled - empty < 130_000
    assert abs(beside - filled) < 10_000


def test_memory_of_clients_is_the_sum_of_what_each_takes() -> None:
    listed = b"id=3 name= qbuf=26 tot-mem=61466 cmd=client\nid=4 name=x qbuf=0 tot-mem=20496\n"
    assert client_memory(listed) == 61466 + 20496


def test_memory_of_clients_that_the_server_does_not_tell_is_none() -> None:
    assert client_memory(b"id=3 name= qbuf=26 cmd=client\n") == 0


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
