"""Redis in memory, on the clock of the simulation, for the commands and scripts of ours.

Unlike the embedded server it lets keys expire by the time that it is told, answers in an
order that depends on nothing but what is stored, and says what changes. `test_redis` holds
it against the embedded server.
"""

import json
import math
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from connect.state.commands import Argument, CommandError, Reply, Script, reply_error

__all__ = ["MemoryRedis", "Watch"]

# As Redis has it; fakeredis runs its scripts in the same. It comes without types.
lua: Any = import_module("lupa.lua51")

Watch = Callable[[str, bytes | None], None]
"""Is told a key and its new value, None when it is deleted (but not when it expires)."""

_Value = bytes | dict[bytes, bytes] | dict[bytes, None] | dict[bytes, float]

_PRELUDE = b"""
local call, encode, decode, null = ...
redis = { call = call }
cjson = { encode = encode, decode = decode, null = null }
"""


class _Null:
    """What cjson makes of a JSON null."""


_NULL = _Null()


class _Interpreter:
    """One Lua for all databases: scripts keep nothing between their runs."""

    def __init__(self) -> None:
        self._lua = lua.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._lua.compile(_PRELUDE)(self._call, _encode, self._decode, _NULL)
        self._functions: dict[str, Any] = {}
        self._database: MemoryRedis | None = None
        self._error: Exception | None = None

    def run(
        self, database: "MemoryRedis", script: Script, keys: list[bytes], args: list[bytes]
    ) -> Reply:
        function = self._functions.get(script.sha1)
        if function is None:
            source = f"return function(KEYS, ARGV)\n{script.text}\nend"
            function = self._functions[script.sha1] = self._lua.execute(source.encode())
        self._database, self._error = database, None
        table = self._lua.table_from
        try:
            return _from_lua(function(table(keys), table(args)))
        except lua.LuaError as error:
            if self._error is not None:
                raise self._error from error
            raise CommandError(f"{script.name}: {error}") from error

    def _call(self, name: bytes, *args: object) -> object:
        assert self._database is not None
        try:
            reply = self._database.do(name.decode(), [_argument(arg) for arg in args])
        except Exception as error:
            self._error = error
            raise
        return self._to_lua(reply)

    def _to_lua(self, reply: Reply) -> object:
        if reply is None:
            return False
        if isinstance(reply, list):
            return self._lua.table_from([self._to_lua(item) for item in reply])
        if isinstance(reply, str):
            return self._lua.table_from({b"ok": reply.encode()})
        return reply

    def _decode(self, text: bytes) -> object:
        return self._from_json(json.loads(text))

    def _from_json(self, value: Any) -> object:
        if isinstance(value, dict):
            items = {key.encode(): self._from_json(item) for key, item in value.items()}
            return self._lua.table_from(items)
        if isinstance(value, list):
            return self._lua.table_from([self._from_json(item) for item in value])
        if isinstance(value, str):
            return value.encode()
        return _NULL if value is None else value


@cache
def _interpreter() -> _Interpreter:
    return _Interpreter()


def _argument(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, float) and not value.is_integer():
        return b"%.17g" % value
    if isinstance(value, int | float):
        return b"%d" % value
    raise CommandError("Lua redis() command arguments must be strings or integers")


def _encode(value: Any) -> bytes:
    return json.dumps(_to_json(value), separators=(",", ":")).encode()


def _to_json(value: Any) -> object:
    if lua.lua_type(value) == "table":
        items = dict(value.items())
        if items and all(isinstance(key, int) for key in items):
            return [_to_json(items[index]) for index in range(1, len(items) + 1)]
        return {key.decode(): _to_json(item) for key, item in items.items()}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None if value is _NULL else value


def _from_lua(value: Any) -> Reply:
    if lua.lua_type(value) == "table":
        if value[b"ok"] is not None:
            return value[b"ok"]
        if value[b"err"] is not None:
            raise reply_error(value[b"err"].decode())
        items: list[Reply] = []
        while (item := value[len(items) + 1]) is not None:
            items.append(_from_lua(item))
        return items
    if isinstance(value, bool):
        return 1 if value else None
    return int(value) if isinstance(value, float) else value


class MemoryRedis:
    """One database.

    Args:
        now: unix seconds; keys expire by it.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._values: dict[str, _Value] = {}
        self._expiries: dict[str, float] = {}  # unix seconds
        self._watches: list[tuple[str, Watch]] = []

    def watch(self, beginning: str, watch: Watch) -> None:
        """Have changes told of strings whose keys begin like this."""
        self._watches.append((beginning, watch))

    def execute(self, args: Sequence[Argument]) -> Reply:
        """Carry out a command; status replies come as bytes.

        Raises:
            CommandError: it is unknown here, or refused.
        """
        reply = self.do(str(args[0]), [_bytes(arg) for arg in args[1:]])
        return reply.encode() if isinstance(reply, str) else reply

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Reply:
        """Run a script.

        Raises:
            CommandError: the script failed.
        """
        encoded = [_bytes(key) for key in keys], [_bytes(arg) for arg in args]
        return _interpreter().run(self, script, *encoded)

    def all_keys(self) -> list[str]:
        """Return the keys there are, sorted."""
        return sorted(key for key in list(self._values) if self._get(key) is not None)

    def do(self, name: str, args: list[bytes]) -> Any:
        """Carry out a command; status replies come as str, sets sorted."""
        command = _COMMANDS.get(name)
        if command is None:
            raise CommandError(f"the simulated Redis does not know {name}")
        return command(self, *args)

    # Keys

    def _get(self, key: str) -> Any:
        expiry = self._expiries.get(key)
        if expiry is not None and expiry <= self._now():
            del self._values[key], self._expiries[key]
        return self._values.get(key)

    def _made(self, key: str, kind: Callable[[], Any]) -> Any:
        value = self._get(key)
        if value is None:
            value = self._values[key] = kind()
        return value

    def _drop(self, key: str) -> None:
        value = self._values.pop(key)
        self._expiries.pop(key, None)
        if isinstance(value, bytes):
            self._tell(key, None)

    def _tell(self, key: str, value: bytes | None) -> None:
        for beginning, watch in self._watches:
            if key.startswith(beginning):
                watch(key, value)

    def _delete(self, *keys: bytes) -> int:
        there = [key for key in map(bytes.decode, keys) if self._get(key) is not None]
        for key in there:
            self._drop(key)
        return len(there)

    def _exists(self, *keys: bytes) -> int:
        return sum(self._get(key.decode()) is not None for key in keys)

    def _pexpire(self, key: bytes, ms: bytes) -> int:
        name = key.decode()
        if self._get(name) is None:
            return 0
        self._expiries[name] = self._now() + int(ms) / 1000
        return 1

    def _pttl(self, key: bytes) -> int:
        name = key.decode()
        if self._get(name) is None:
            return -2
        expiry = self._expiries.get(name)
        return -1 if expiry is None else round((expiry - self._now()) * 1000)

    def _ping(self) -> str:
        return "PONG"

    # Strings

    def _set(self, key: bytes, value: bytes, *options: bytes) -> str | None:
        name = key.decode()
        words = [option.upper() for option in options]
        before = self._get(name)
        if (b"NX" in words and before is not None) or (b"XX" in words and before is None):
            return None
        if b"KEEPTTL" not in words:
            self._expiries.pop(name, None)
        for word, unit in ((b"PX", 1000), (b"EX", 1)):
            if word in words:
                self._expiries[name] = self._now() + int(options[words.index(word) + 1]) / unit
        self._values[name] = value
        self._tell(name, value)
        return "OK"

    def _string(self, key: bytes) -> bytes | None:
        value: bytes | None = self._get(key.decode())
        return value

    # Hashes

    def _hash(self, key: bytes) -> dict[bytes, bytes]:
        return self._get(key.decode()) or {}

    def _hset(self, key: bytes, *pairs: bytes) -> int:
        value: dict[bytes, bytes] = self._made(key.decode(), dict)
        before = len(value)
        value.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(value) - before

    def _remove(self, key: bytes, *members: bytes) -> int:
        """Take fields or members out, and away what is empty then."""
        name = key.decode()
        value = self._get(name) or {}
        there = [member for member in dict.fromkeys(members) if member in value]
        for member in there:
            del value[member]
        if there and not value:
            self._drop(name)
        return len(there)

    def _hget(self, key: bytes, field: bytes) -> bytes | None:
        return self._hash(key).get(field)

    def _hmget(self, key: bytes, *fields: bytes) -> list[bytes | None]:
        return [self._hash(key).get(field) for field in fields]

    def _hgetall(self, key: bytes) -> list[bytes]:
        return [part for pair in self._hash(key).items() for part in pair]

    def _hkeys(self, key: bytes) -> list[bytes]:
        return list(self._hash(key))

    def _hvals(self, key: bytes) -> list[bytes]:
        return list(self._hash(key).values())

    def _has(self, key: bytes, member: bytes) -> int:
        return int(member in self._hash(key))

    def _size(self, key: bytes) -> int:
        return len(self._hash(key))

    def _hscan(self, key: bytes, cursor: bytes, *options: bytes) -> list[Reply]:
        return [b"0", self._hgetall(key)]

    # Sets

    def _sadd(self, key: bytes, *members: bytes) -> int:
        value: dict[bytes, None] = self._made(key.decode(), dict)
        before = len(value)
        value.update(dict.fromkeys(members))
        return len(value) - before

    def _smembers(self, key: bytes) -> list[bytes]:
        return sorted(self._hash(key))

    def _sscan(self, key: bytes, cursor: bytes, *options: bytes) -> list[Reply]:
        return [b"0", self._smembers(key)]

    # Sorted sets

    def _scores(self, key: bytes) -> dict[bytes, float]:
        return self._get(key.decode()) or {}

    def _sorted(self, key: bytes) -> list[tuple[float, bytes]]:
        ranked: list[tuple[float, bytes]] = []
        for member, score in self._scores(key).items():
            insort(ranked, (score, member))
        return ranked

    def _zadd(self, key: bytes, *pairs: bytes) -> int:
        scores: dict[bytes, float] = self._made(key.decode(), dict)
        before = len(scores)
        for score, member in zip(pairs[::2], pairs[1::2], strict=True):
            scores[member] = float(score)
        return len(scores) - before

    def _zscore(self, key: bytes, member: bytes) -> bytes | None:
        score = self._scores(key).get(member)
        return None if score is None else _number(score)

    def _zrange(self, key: bytes, start: bytes, stop: bytes, *options: bytes) -> list[bytes]:
        ranked = self._sorted(key)
        first, last = (
            int(index) + len(ranked) if int(index) < 0 else int(index) for index in (start, stop)
        )
        return _shown(ranked[max(0, first) : max(0, last + 1)], options)

    def _within(self, key: bytes, low: bytes, high: bytes) -> list[tuple[float, bytes]]:
        above, below = _bound(low, lower=True), _bound(high, lower=False)
        return [entry for entry in self._sorted(key) if above <= entry[0] <= below]

    def _zrangebyscore(self, key: bytes, low: bytes, high: bytes, *options: bytes) -> list[bytes]:
        found = self._within(key, low, high)
        if b"LIMIT" in options:
            offset, count = map(int, options[options.index(b"LIMIT") + 1 :][:2])
            found = found[offset : offset + count]
        return _shown(found, options)

    def _zcount(self, key: bytes, low: bytes, high: bytes) -> int:
        return len(self._within(key, low, high))

    def _zremrangebyscore(self, key: bytes, low: bytes, high: bytes) -> int:
        return self._remove(key, *(member for _, member in self._within(key, low, high)))

    def _zscan(self, key: bytes, cursor: bytes, *options: bytes) -> list[Reply]:
        return [b"0", _shown(self._sorted(key), [b"WITHSCORES"])]


def _bytes(value: Argument) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _number(value: float) -> bytes:
    return b"%d" % value if value.is_integer() else repr(value).encode()


def _bound(text: bytes, *, lower: bool) -> float:
    if not text.startswith(b"("):
        return float(text)
    return math.nextafter(float(text[1:]), math.inf if lower else -math.inf)


def _shown(entries: Iterable[tuple[float, bytes]], options: Sequence[bytes]) -> list[bytes]:
    if b"WITHSCORES" not in options:
        return [member for _, member in entries]
    return [part for score, member in entries for part in (member, _number(score))]


_COMMANDS: dict[str, Callable[..., Any]] = {
    "DEL": MemoryRedis._delete,
    "EXISTS": MemoryRedis._exists,
    "PEXPIRE": MemoryRedis._pexpire,
    "PTTL": MemoryRedis._pttl,
    "PING": MemoryRedis._ping,
    "SET": MemoryRedis._set,
    "GET": MemoryRedis._string,
    "HSET": MemoryRedis._hset,
    "HDEL": MemoryRedis._remove,
    "HGET": MemoryRedis._hget,
    "HMGET": MemoryRedis._hmget,
    "HGETALL": MemoryRedis._hgetall,
    "HKEYS": MemoryRedis._hkeys,
    "HVALS": MemoryRedis._hvals,
    "HEXISTS": MemoryRedis._has,
    "HLEN": MemoryRedis._size,
    "HSCAN": MemoryRedis._hscan,
    "SADD": MemoryRedis._sadd,
    "SREM": MemoryRedis._remove,
    "SISMEMBER": MemoryRedis._has,
    "SCARD": MemoryRedis._size,
    "SMEMBERS": MemoryRedis._smembers,
    "SSCAN": MemoryRedis._sscan,
    "ZADD": MemoryRedis._zadd,
    "ZREM": MemoryRedis._remove,
    "ZSCORE": MemoryRedis._zscore,
    "ZCARD": MemoryRedis._size,
    "ZRANGE": MemoryRedis._zrange,
    "ZRANGEBYSCORE": MemoryRedis._zrangebyscore,
    "ZCOUNT": MemoryRedis._zcount,
    "ZREMRANGEBYSCORE": MemoryRedis._zremrangebyscore,
    "ZSCAN": MemoryRedis._zscan,
}
