"""The simulated Redis against the embedded server, and what it does besides."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connect.errors import StoreUnavailable
from connect.state.commands import Argument, CommandError
from connect.state.embedded import EmbeddedCommands
from tests.simulation.redis import MemoryRedis
from tests.state.harness import SettableNow, own_script

KEYS = st.sampled_from(["a", "b"])
MEMBERS = st.sampled_from(["x", "y", "z"])
SCORES = st.sampled_from(["1", "2.5", "1764000000.125", "-3"])
BOUNDS = st.sampled_from(["-inf", "+inf", "1", "(1", "2.5", "(2.5"])
INDEXES = st.sampled_from(["0", "1", "-1", "-2", "5"])


def command(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts))


STRINGS = st.one_of(
    command("SET", KEYS, MEMBERS),
    command("SET", KEYS, MEMBERS, "NX"),
    command("SET", KEYS, MEMBERS, "XX"),
    command("SET", KEYS, MEMBERS, "NX", "PX", "90000"),
    command("SET", KEYS, MEMBERS, "EX", "90"),
    command("SET", KEYS, MEMBERS, "KEEPTTL"),
    command("GET", KEYS),
    command("DEL", KEYS, KEYS),
    command("EXISTS", KEYS, KEYS),
    command("PEXPIRE", KEYS, "60000"),
    command("PING"),
)
HASHES = st.one_of(
    command("HSET", KEYS, MEMBERS, MEMBERS),
    command("HDEL", KEYS, MEMBERS, MEMBERS),
    command("HGET", KEYS, MEMBERS),
    command("HMGET", KEYS, MEMBERS, MEMBERS),
    command("HGETALL", KEYS),
    command("HKEYS", KEYS),
    command("HVALS", KEYS),
    command("HEXISTS", KEYS, MEMBERS),
    command("HLEN", KEYS),
    command("HSCAN", KEYS, "0"),
    command("DEL", KEYS),
)
SETS = st.one_of(
    command("SADD", KEYS, MEMBERS, MEMBERS),
    command("SREM", KEYS, MEMBERS),
    command("SISMEMBER", KEYS, MEMBERS),
    command("SCARD", KEYS),
    command("SMEMBERS", KEYS),
    command("SSCAN", KEYS, "0"),
    command("DEL", KEYS),
)
SORTED_SETS = st.one_of(
    command("ZADD", KEYS, SCORES, MEMBERS),
    command("ZREM", KEYS, MEMBERS),
    command("ZSCORE", KEYS, MEMBERS),
    command("ZCARD", KEYS),
    command("ZRANGE", KEYS, INDEXES, INDEXES),
    command("ZRANGE", KEYS, INDEXES, INDEXES, "WITHSCORES"),
    command("ZRANGEBYSCORE", KEYS, BOUNDS, BOUNDS),
    command("ZRANGEBYSCORE", KEYS, BOUNDS, BOUNDS, "LIMIT", "0", "1"),
    command("ZRANGEBYSCORE", KEYS, BOUNDS, BOUNDS, "WITHSCORES"),
    command("ZCOUNT", KEYS, BOUNDS, BOUNDS),
    command("ZREMRANGEBYSCORE", KEYS, BOUNDS, BOUNDS),
    command("ZSCAN", KEYS, "0"),
    command("DEL", KEYS),
)


def comparable(name: str, reply: Any) -> Any:
    """Leave out what depends on the order in which a server keeps things."""
    if name in ("HGETALL", "HSCAN", "ZSCAN"):
        pairs = reply if name == "HGETALL" else reply[1]
        return sorted(zip(pairs[::2], pairs[1::2], strict=True))
    if name in ("SMEMBERS", "HKEYS", "HVALS"):
        return sorted(reply)
    return sorted(reply[1]) if name == "SSCAN" else reply


@given(
    commands=st.one_of(
        *(st.lists(kind, max_size=12) for kind in (STRINGS, HASHES, SETS, SORTED_SETS))
    )
)
@settings(max_examples=150)
async def test_it_answers_as_the_embedded_server_does(commands: list[tuple[str, ...]]) -> None:
    embedded, memory = EmbeddedCommands(), MemoryRedis(SettableNow())
    for args in commands:
        expected = await embedded.execute(*args)
        assert comparable(args[0], memory.execute(args)) == comparable(args[0], expected), args


SCRIPTS = {
    "numbers": "return { 1, 2.7, tonumber(ARGV[1]) }",
    "texts": "return { 'a', KEYS[1], ARGV[1] }",
    "truth": "return { true, 1, false, 2 }",
    "status": "return redis.call('SET', KEYS[1], ARGV[1])",
    "nothing": "return redis.call('GET', 'none')",
    "missing": "return redis.call('GET', 'none') == false",
    "a list": "redis.call('SADD', KEYS[1], 'b', 'a') return #redis.call('SMEMBERS', KEYS[1])",
    "a number given": "redis.call('SET', KEYS[1], 12) return redis.call('GET', KEYS[1])",
    "a fraction given": "redis.call('SET', KEYS[1], 2.5) return redis.call('GET', KEYS[1])",
    "JSON": "local v = cjson.decode(ARGV[2]) return cjson.encode({ v.a[2], v.b })",
    "null": "return cjson.decode(ARGV[2]).c == cjson.null",
    "JSON of a table": "return cjson.encode({ a = { 1, 'x' }, b = cjson.decode('null') })",
    "errors": "return { err = 'ERR no' }",
    "failures": "return redis.call('HGET')",
    "mistakes": "return nothing.at.all",
    "a table given": "return redis.call('SET', KEYS[1], {})",
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_scripts_answer_as_in_the_embedded_server(name: str) -> None:
    script = own_script(SCRIPTS[name])
    embedded, memory = EmbeddedCommands(), MemoryRedis(SettableNow())
    args: tuple[Argument, ...] = ("7", '{"a": [1, 2], "b": "x/y", "c": null}')
    try:
        expected = await embedded.run(script, ["key"], args)
    except CommandError:
        with pytest.raises((CommandError, TypeError)):
            memory.run(script, ["key"], args)
    else:
        assert memory.run(script, ["key"], args) == expected


def test_keys_expire_by_the_time_it_is_told() -> None:
    now = SettableNow()
    memory = MemoryRedis(now)
    memory.execute(("SET", "key", "x", "PX", 5000))
    now.seconds += 4.9
    assert memory.execute(("PTTL", "key")) == 100
    now.seconds += 0.2
    assert memory.execute(("PTTL", "key")) == -2


def test_a_key_without_a_lifetime_says_so() -> None:
    memory = MemoryRedis(SettableNow())
    memory.execute(("SET", "key", "x"))
    assert memory.execute(("PTTL", "key")) == -1


def test_keys_are_listed_while_they_live() -> None:
    now = SettableNow()
    memory = MemoryRedis(now)
    memory.execute(("SET", "b", "x", "PX", 5000))
    memory.execute(("SET", "a", "x"))
    assert memory.all_keys() == ["a", "b"]
    now.seconds += 6
    assert memory.all_keys() == ["a"]


def test_changes_of_strings_are_told() -> None:
    memory, told = MemoryRedis(SettableNow()), []
    memory.watch("lease:", lambda key, value: told.append((key, value)))
    memory.execute(("SET", "lease:1", "x"))
    memory.execute(("SET", "other:1", "x"))
    memory.execute(("DEL", "lease:1"))
    assert told == [("lease:1", b"x"), ("lease:1", None)]


def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(CommandError, match="does not know FLUSHALL"):
        MemoryRedis(SettableNow()).execute(("FLUSHALL",))


def test_a_script_can_say_that_redis_cannot_serve_now() -> None:
    script = own_script("return { err = 'LOADING the dataset' }")
    with pytest.raises(StoreUnavailable):
        MemoryRedis(SettableNow()).run(script, [], [])
