"""Every setting of the service: its type, unit, default, flag, variable and description.

Made from the dataclasses of `connect.settings`, so that a field added there is a setting
everywhere: for ``--set``, as a variable, in the ``connect`` section of a document, in
the documentation.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from connect.settings import Settings

__all__ = ["Setting", "SettingType", "catalogue", "setting_at", "value_at"]

# Sections whose settings are given with --set rather than by flags of their own.
_SET = frozenset({"timing", "limits"})

# Flags that are not simply the field's name.
_FLAGS = {
    "redis.url": "--redis-url",
    "redis.layout": "--key-layout",
    "log.level": "--log-level",
    "log.format": "--log-format",
}

# Settings outside timing and limits that take effect in a running service, and those
# within that are fixed when it starts: others rely on them (workers on the intervals they
# were told, processes on one another's heartbeats), or something was made with them.
_LIVE = frozenset(
    {
        "log.level",
        "tenant.accepted_session_secrets",
        "tenant.session_secret",
        "tenant.signing_keys",
    }
)
_FIXED = frozenset(
    {
        "limits.closed_connections",
        "limits.message_bytes",
        "limits.registrations",
        "timing.gateway_heartbeat",
        "timing.gateway_refresh",
        "timing.lease",
        "timing.rpc",
        "timing.session_token",
        "timing.store_command",
        "timing.worker_heartbeat",
    }
)

# Whole numbers that may be 0, which means none or any number; others are 1 at least.
_MAY_BE_ZERO = frozenset(
    {
        "limits.closed_connections",
        "limits.connections",
        "limits.connections_per_account",
        "limits.connections_per_address",
        "limits.drain_rate",
        "limits.flaps",
        "limits.functions_per_app",
        "limits.handshakes",
        "limits.handshakes_per_address",
        "limits.handshakes_per_second",
        "limits.kept_replies",
        "limits.kept_reply_bytes",
        "limits.pending_sockets",
        "limits.pending_sockets_per_address",
        "limits.push_bytes",
        "limits.pushes",
        "limits.starts",
        "timing.draining_attempts",
    }
)
# Messages and bodies that are to be taken have some size; so has `eventAPI.maxSize`.
_LEAST = {
    "limits.invoke_body_bytes": 1024,
    "limits.message_bytes": 1024,
    "limits.start_body_bytes": 1024,
}

_UUIDS = frozenset({"tenant.account_id", "tenant.env_id"})


class SettingType(StrEnum):
    """What the value of a setting is."""

    TEXT = "text"
    TEXTS = "list of texts"
    UUID = "UUID"
    PORT = "port"
    WHOLE = "whole number"
    DURATION = "duration"
    FLAG = "true or false"
    CHOICE = "choice"
    CHOICES = "list of choices"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        path: its name, such as ``timing.lease``; its place in `Settings`.
        unit: ``s``, ``bytes``, or empty for none.
        default: the value in `Settings()`.
        flag: how the command line gives it, such as ``--api-port`` or ``--set timing.lease``.
        variable: the variable that gives it.
        description: from the dataclass's docstring; empty when Python strips docstrings.
        choices: the values of a choice.
        optional: whether it may have no value (None).
        secret: whether its value is never shown.
        live: whether a changed value takes effect in a running service.
        least: the smallest that a whole number may be.
    """

    path: str
    type: SettingType
    unit: str
    default: Any
    flag: str
    variable: str
    description: str
    choices: tuple[str, ...] = ()
    optional: bool = False
    secret: bool = False
    live: bool = False
    least: int = 0

    @property
    def section(self) -> str:
        """The part of the path before the dot; empty for a setting of `Settings` itself."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The field's name."""
        return self.path.rpartition(".")[2]

    @property
    def document_path(self) -> tuple[str, ...]:
        """The labels under which a document gives it."""
        parts = tuple(self.path.split("."))
        return parts if parts[0] == "log" else ("connect", *parts)


@cache
def catalogue() -> Mapping[str, Setting]:
    """Return every setting by its path, in the order of `Settings`."""
    return {setting.path: setting for setting in _settings()}


def setting_at(path: str) -> Setting:
    """Return the setting with this path.

    Raises:
        KeyError: there is none.
    """
    return catalogue()[path]


def value_at(settings: Settings, path: str) -> Any:
    """Return the value of the setting with this path."""
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _settings() -> Iterator[Setting]:
    described = _descriptions(Settings)
    hints = get_type_hints(Settings)
    default = Settings()
    for field in fields(Settings):
        value = getattr(default, field.name)
        if not hasattr(value, "__dataclass_fields__"):
            yield _setting(field.name, hints[field.name], value, described.get(field.name, ""))
            continue
        section = type(value)
        section_hints = get_type_hints(section)
        section_described = _descriptions(section)
        for part in fields(section):
            yield _setting(
                f"{field.name}.{part.name}",
                section_hints[part.name],
                getattr(value, part.name),
                section_described.get(part.name, ""),
                secret=not part.repr,
            )


def _setting(
    path: str, hint: Any, default: Any, description: str, *, secret: bool = False
) -> Setting:
    section, _, name = path.rpartition(".")
    kind, choices = _type_of(path, name, hint)
    if section in _SET:
        flag = f"--set {path}"
        variable = "CONNECT_" + path.replace(".", "_").upper()
        live = path not in _FIXED
    else:
        # A flag that may be repeated names one of its values.
        one = _singular(name) if kind is SettingType.TEXTS else name
        flag = _FLAGS.get(path) or "--" + one.replace("_", "-")
        variable = "CONNECT_" + flag.removeprefix("--").replace("-", "_").upper()
        live = path in _LIVE
    optional = get_origin(hint) is UnionType and NoneType in get_args(hint)
    unit = ""
    if kind is SettingType.DURATION:
        unit = "s"
    elif kind is SettingType.WHOLE and "bytes" in name.split("_"):
        unit = "bytes"
    least = 0
    if kind is SettingType.WHOLE and path not in _MAY_BE_ZERO:
        least = _LEAST.get(path, 1)
    return Setting(
        path,
        kind,
        unit,
        default,
        flag,
        variable,
        description,
        choices,
        optional,
        secret,
        live,
        least,
    )


def _singular(name: str) -> str:
    return name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")


def _type_of(path: str, name: str, hint: Any) -> tuple[SettingType, tuple[str, ...]]:
    if path in _UUIDS:
        return SettingType.UUID, ()
    if hint is bool:
        return SettingType.FLAG, ()
    if hint is int:
        return (SettingType.PORT if name.endswith("_port") else SettingType.WHOLE), ()
    if hint is float:
        return SettingType.DURATION, ()
    if hint in (str, str | None):
        return SettingType.TEXT, ()
    if hint == tuple[str, ...]:
        return SettingType.TEXTS, ()
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return SettingType.CHOICE, tuple(hint)
    if get_origin(hint) is frozenset:
        return SettingType.CHOICES, tuple(get_args(hint)[0])
    raise TypeError(f"a setting cannot be of type {hint}: {path}")


_ATTRIBUTE = re.compile(r"    (?P<name>\w+): (?P<text>.*(?:\n {8}.*)*)")


def _descriptions(owner: type) -> dict[str, str]:
    """Return what a dataclass's docstring says of its attributes."""
    text = inspect.getdoc(owner) or ""
    _, _, attributes = text.partition("Attributes:\n")
    return {
        found["name"]: _for_operators(" ".join(found["text"].split()))
        for found in _ATTRIBUTE.finditer(attributes)
    }


def _for_operators(text: str) -> str:
    text = re.sub(r"\b(Timing|Limits)\.", lambda found: found[0].lower(), text)
    return text.rstrip(".").replace("``", "`").replace("None", "none")
