"""The layers that settings come from, and which one each value came from.

Strongest first: flags, ``CONNECT_…`` variables, the loaded document, defaults. A layer
is a mapping from settings' paths to `Given` values; a setting that it does not name is left
to the layers below.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import ip_network
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from connect.config.catalogue import Setting, SettingType, catalogue
from connect.config.credentials import masked_credentials
from connect.errors import ConfigurationError, SeveralFaults
from connect.protocol.durations import parse_duration
from connect.settings import KeyLayout, LogFormat, LogLevel, Role, Settings

__all__ = [
    "Given",
    "Layer",
    "Origin",
    "OriginKind",
    "Resolved",
    "UnfitElements",
    "UnfitValue",
    "check_combinations",
    "empty_address",
    "overrides",
    "parse_setting",
    "resolve",
    "typed",
    "unknown_variables",
    "variables",
]

T = TypeVar("T")

_LONGEST = (2**63 - 1) / 1_000_000_000  # seconds; as for a duration's text

_CHOICES = {
    "roles": Role,
    "redis.layout": KeyLayout,
    "log.level": LogLevel,
    "log.format": LogFormat,
}
_KEYS = frozenset(
    {"tenant.accepted_session_secrets", "tenant.session_secret", "tenant.signing_keys"}
)
_ADDRESSES = frozenset({"listen.admin_host", "listen.host"})
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class UnfitValue(ValueError):
    """A value that does not fit its setting; the text says what would be right.

    Args:
        message: what is wrong; if it quotes a URL with a login, this is hidden.
    """

    def __init__(self, message: str) -> None:
        super().__init__(masked_credentials(message))


class UnfitElements(UnfitValue):
    """Elements of a list that do not fit their setting.

    Attributes:
        faults: for each its index, and what would be right.

    Args:
        count: how many elements the list has.
    """

    def __init__(self, faults: Sequence[tuple[int, str]], *, count: int) -> None:
        self.faults = tuple(faults)
        told = [reason if count == 1 else f"element {at + 1}: {reason}" for at, reason in faults]
        super().__init__("; ".join(told))


class OriginKind(StrEnum):
    """The layers, strongest first."""

    FLAG = "flag"
    VARIABLE = "variable"
    DOCUMENT = "document"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Attributes:
        name: the flag, the variable, or ``file:line:column``; empty for a default.
    """

    kind: OriginKind
    name: str = ""

    def __str__(self) -> str:
        return self.name or str(self.kind)


@dataclass(frozen=True, slots=True)
class Given:
    """A value of a setting, of the type that `Settings` has for it, and its origin."""

    value: Any
    origin: Origin


Layer = Mapping[str, Given]

DEFAULT = Origin(OriginKind.DEFAULT)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, with the origin of each by its path."""

    settings: Settings
    origins: Mapping[str, Origin]


def resolve(*layers: Layer) -> Resolved:
    """Lay settings over each other.

    Args:
        layers: strongest first; the defaults lie below them all.
    """
    settings = Settings()
    origins: dict[str, Origin] = {}
    sections: dict[str, dict[str, Any]] = {}
    for path, setting in catalogue().items():
        given = next((layer[path] for layer in layers if path in layer), None)
        origins[path] = given.origin if given is not None else DEFAULT
        if given is not None:
            sections.setdefault(setting.section, {})[setting.name] = given.value
    changes = sections.pop("", {})
    for section, values in sections.items():
        changes[section] = replace(getattr(settings, section), **values)
    return Resolved(replace(settings, **changes), origins)


def overrides(assignments: tuple[str, ...]) -> dict[str, Given]:
    """Read the ``--set SECTION.NAME=VALUE`` of a command line.

    Raises:
        SeveralFaults: there are no such settings, or the values do not fit them.
    """
    layer: dict[str, Given] = {}
    faults: list[str] = []
    settable = [path for path, setting in catalogue().items() if setting.flag.startswith("--set ")]
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals and path in settable:
            raise ConfigurationError(f"--set {path}: there is no value; expected {path}=VALUE")
        if path not in settable:
            near = get_close_matches(path, settable, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; it is timing.NAME or limits.NAME"
            # The value is not quoted: it may be a secret, which are not set like this.
            faults.append(f"--set {path}: there is no such setting{hint}")
            continue
        try:
            value = parse_setting(catalogue()[path], text)
        except UnfitValue as error:
            faults.append(f"--set {path}: {error}")
            continue
        layer[path] = Given(value, Origin(OriginKind.FLAG, f"--set {path}"))
    if faults:
        raise SeveralFaults(faults)
    return layer


def variables(environment: Mapping[str, str]) -> dict[str, Given]:
    """Read the settings that ``CONNECT_…`` variables give; empty ones count as unset.

    Raises:
        SeveralFaults: values that do not fit; the text names the variables, and never quotes
            a secret.
    """
    layer: dict[str, Given] = {}
    faults: list[str] = []
    for path, setting in catalogue().items():
        text = environment.get(setting.variable, "")
        if not text:
            continue
        try:
            value = parse_setting(setting, text)
        except UnfitValue as error:
            faults.append(f"{setting.variable}: {error}")
            continue
        layer[path] = Given(value, Origin(OriginKind.VARIABLE, setting.variable))
    if faults:
        raise SeveralFaults(faults)
    return layer


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that look like misspelt ones of ours, with what they may mean."""
    known = [setting.variable for setting in catalogue().values()]
    found: dict[str, str] = {}
    for name in sorted(environment):
        if name.startswith("CONNECT_") and name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.85)
            if near:
                found[name] = near[0]
    return found


def parse_setting(setting: Setting, text: str) -> Any:
    """Read a setting's value from text.

    Args:
        text: a duration such as ``10s``, a whole number; lists have spaces or commas between
            their elements.

    Raises:
        UnfitValue: the text does not fit; the message says what would be right.
    """
    match setting.type:
        case SettingType.DURATION:
            if text.startswith("-"):
                raise UnfitValue("the value must not be negative")
            try:
                return parse_duration(text)
            except ValueError as error:
                raise UnfitValue(f"{text!r} is not a duration such as 10s ({error})") from error
        case SettingType.WHOLE | SettingType.PORT:
            try:
                number = int(text)
            except ValueError:
                raise UnfitValue(f"{text!r} is not a whole number") from None
            return typed(setting, number)
        case SettingType.FLAG:
            if text.lower() not in _TRUTH:
                raise UnfitValue(f"{text!r} is neither true nor false")
            return _TRUTH[text.lower()]
        case SettingType.TEXTS | SettingType.CHOICES:
            return typed(setting, text.replace(",", " ").split())
        case _:
            return typed(setting, text)


def typed(setting: Setting, value: Any) -> Any:
    """Return a value as `Settings` has it.

    Args:
        value: a text, number, bool or list of texts.

    Raises:
        UnfitValue: the value does not fit; the message says what would be right and never
            quotes a secret.
    """
    match setting.type:
        case SettingType.DURATION:
            return _duration(value)
        case SettingType.WHOLE:
            return _whole(value, least=setting.least, most=None)
        case SettingType.PORT:
            return _whole(value, least=0, most=65535)
        case SettingType.FLAG if not isinstance(value, bool):
            raise UnfitValue("expected true or false")
        case SettingType.UUID:
            return _uuid(value)
        case SettingType.CHOICE:
            return _choice(setting, value)
        case SettingType.CHOICES:
            if not isinstance(value, list) or not value:
                raise UnfitValue(f"expected a list of {' or '.join(setting.choices)}")
            return frozenset(_elements(setting, value, _choice))
        case SettingType.TEXTS:
            if not isinstance(value, list):
                raise UnfitValue("expected a list of strings")
            return tuple(_elements(setting, value, _text))
        case SettingType.TEXT:
            return _text(setting, value)
        case _:
            return value


def _elements(setting: Setting, values: list[Any], read: Callable[[Setting, Any], T]) -> list[T]:
    """Read the elements of a list, all of them."""
    found: list[T] = []
    faults: list[tuple[int, str]] = []
    for index, value in enumerate(values):
        try:
            found.append(read(setting, value))
        except UnfitValue as error:
            faults.append((index, str(error)))
    if faults:
        raise UnfitElements(faults, count=len(values))
    return found


def _duration(value: Any) -> float:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise UnfitValue(str(error)) from error
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        raise UnfitValue("expected a duration such as 10s, or a number of seconds")
    if value < 0:
        raise UnfitValue("the value must not be negative")
    if value > _LONGEST:
        raise UnfitValue("longer than 292 years")
    return float(value)


def _whole(value: Any, *, least: int, most: int | None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnfitValue(f"{value} is not a whole number")
    if value < 0:
        raise UnfitValue("the value must not be negative")
    if value < least:
        raise UnfitValue(f"{value} is too small; expected {least} or more")
    if most is not None and value > most:
        raise UnfitValue(f"{value} is more than {most}")
    return value


def _text(setting: Setting, value: Any) -> str:
    if not isinstance(value, str):
        raise UnfitValue("expected a string")
    if setting.path == "listen.gateway_url" and not value.startswith(("ws://", "wss://")):
        raise UnfitValue(f"must begin with ws:// or wss://, not {value!r}")
    if setting.path == "tenant.register_url" and not _is_http_url(value):
        raise UnfitValue(f"must be a URL such as https://api.example.com, not {value!r}")
    if setting.path == "listen.trusted_proxies" and not _is_network(value):
        raise UnfitValue(f"{value!r} is neither an address nor a network such as 10.0.0.0/8")
    if not value and (setting.optional or setting.type is SettingType.TEXTS):
        raise UnfitValue("empty; leave it out to have none (is a variable not set?)")
    if not value and setting.path in _ADDRESSES:
        raise UnfitValue(empty_address(setting.default))
    if setting.path in _KEYS:
        _check_key(setting.path, value)
    return value


def empty_address(default: str) -> str:
    """Say what is wrong with an empty host or address, which would stand for another one.

    Args:
        default: what it is when it is left out.
    """
    return f"empty; leave it out for {default} (is a variable not set?)"


def _check_key(path: str, value: str) -> None:
    """Refuse a key as the service would when it starts."""
    # Imported when there is a key only: its libraries take time.
    from connect.protocol.tokens import SessionTokens, SigningKeys

    try:
        if path == "tenant.signing_keys":
            SigningKeys((value,))
        else:
            SessionTokens(value, lifetime=1.0, now=lambda: 0.0)
    except ConfigurationError as error:
        raise UnfitValue(str(error)) from error


def _uuid(value: Any) -> str:
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise UnfitValue(f"{value!r} is not a UUID") from None


def _choice(setting: Setting, value: Any) -> Any:
    if value in setting.choices:
        return _CHOICES[setting.path](value)
    near = get_close_matches(str(value), setting.choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UnfitValue(f"{value!r}; expected {' or '.join(setting.choices)}{hint}")


def check_combinations(settings: Settings) -> None:
    """Refuse what cannot be together.

    Raises:
        ConfigurationError: saying what is missing.
    """
    roles = settings.roles
    apart = {Role.API, Role.GATEWAY} & roles and not {Role.API, Role.GATEWAY} <= roles
    if apart and not settings.tenant.session_secret:
        raise ConfigurationError(
            "API and gateway run in different processes: give both the same --session-secret"
        )
    if roles != frozenset(Role) and not settings.redis.url:
        raise ConfigurationError(
            "roles in different processes share state: give --redis-url (or CONNECT_REDIS_URL)"
        )


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        return False
