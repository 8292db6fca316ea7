"""What a configuration means for this service.

A document may be shared with other services, so that much of it is not for this one. Only what
the document itself gives takes effect; what merely is a default of ``#Config`` leaves this
service's own defaults alone. What has no effect is named, never ignored silently.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from connect.config.configuration import ConfigLogLevel, Configuration, RedisService
from connect.config.cue.errors import Path, path_text
from connect.config.cue.source import Span
from connect.config.layers import Given, Origin, OriginKind
from connect.settings import LogLevel

__all__ = ["Effects", "Note", "effects_of", "redis_url"]

_LOG_LEVELS = {
    ConfigLogLevel.TRACE: LogLevel.DEBUG,
    ConfigLogLevel.DEBUG: LogLevel.DEBUG,
    ConfigLogLevel.INFO: LogLevel.INFO,
    ConfigLogLevel.WARN: LogLevel.WARNING,
    ConfigLogLevel.ERROR: LogLevel.ERROR,
}

# Sections that are for other services, with the reason why they have no effect here.
_OTHERS = {
    ("coreAPI",): "this service has no core API",
    ("execution",): "drivers are chosen by whoever hands requests to this service",
    ("eventstream",): "events start functions in the process that takes them",
    ("queue",): "requests are forwarded at once and not queued",
    ("datastore",): "definitions are loaded from files",
    ("eventAPI", "maxSize"): "connect.limits.invoke_body_bytes bounds events here",
}
# What a Redis service says of where it is; the last one that a document gives is the origin.
_REDIS_ADDRESS = ("backend", "db", "password", "username", "port", "host", "dsn")
_REDIS_OTHERS = {
    "keyPrefix": "connect.redis.layout says how keys are named",
    "maxRetries": "a command that was sent is never repeated",
    "poolSize": "one connection carries all commands",
}

Written = Callable[[Path], Span | None]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a document says and that has no, or another, effect.

    Attributes:
        place: where the document says it.
    """

    path: Path
    message: str
    place: Span

    def __str__(self) -> str:
        return f"{self.place}: {path_text(self.path)}: {self.message}"


@dataclass(frozen=True, slots=True)
class Effects:
    """The settings that a configuration gives, by their paths, and what it has no effect on."""

    layer: dict[str, Given]
    notes: tuple[Note, ...]


def effects_of(configuration: Configuration, written: Written) -> Effects:
    """Return what a configuration gives this service.

    Args:
        written: where the document itself gives the value at a path; None if it does not.
    """
    layer: dict[str, Given] = {}
    notes = [
        Note(path, f"accepted, without effect: {reason}", place)
        for path, reason in _OTHERS.items()
        if (place := written(path)) is not None
    ]

    def give(setting: str, value: Any, path: Path) -> None:
        place = written(path)
        if place is not None:
            layer[setting] = Given(value, Origin(OriginKind.DOCUMENT, str(place)))

    give("log.level", _LOG_LEVELS[configuration.log.level], ("log", "level"))
    give("log.format", configuration.log.format, ("log", "format"))
    if configuration.log.level is ConfigLogLevel.TRACE:
        notes += _noted(written, ("log", "level"), "the most that is logged is debug")
    give("listen.host", configuration.event_api.addr, ("eventAPI", "addr"))
    give("listen.api_port", configuration.event_api.port, ("eventAPI", "port"))
    state = configuration.state.service
    if isinstance(state, RedisService):
        at = ("state", "service")
        for name in _REDIS_ADDRESS:
            give("redis.url", redis_url(state), (*at, name))
        for name, reason in _REDIS_OTHERS.items():
            notes += _noted(written, (*at, name), f"accepted, without effect: {reason}")
    if configuration.connect is not None:
        for setting, value in configuration.connect.given.items():
            path = ("connect", *setting.split("."))
            if setting in layer:
                overridden = layer[setting].origin
                notes += _noted(written, path, f"comes before the value at {overridden}")
            give(setting, value, path)
    return Effects(layer, tuple(sorted(notes, key=lambda note: note.place[1:])))


def _noted(written: Written, path: Path, message: str) -> Iterator[Note]:
    place = written(path)
    if place is not None:
        yield Note(path, message, place)


def redis_url(service: RedisService) -> str:
    """Return the URL of a Redis server that is given by its parts."""
    if service.dsn is not None:
        return service.dsn
    login = ""
    if service.username is not None or service.password is not None:
        login = quote(service.username or "", safe="")
        if service.password is not None:
            login += ":" + quote(service.password, safe="")
        login += "@"
    host = f"[{service.host}]" if ":" in service.host else service.host
    return f"redis://{login}{host}:{service.port}/{service.db}"
