"""Configurations and settings as they are shown: flat or nested, without their secrets."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from connect.config.catalogue import catalogue, value_at
from connect.config.credentials import MASK, masked_credentials
from connect.config.cue.errors import Path, path_text
from connect.config.layers import OriginKind, Resolved
from connect.config.loader import Loaded
from connect.config.redaction import is_secret, masked_value
from connect.config.reference import json_value, shown_value

__all__ = ["Row", "document_rows", "json_document", "json_settings", "secrets_of", "setting_rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """A value as it is shown to people.

    Attributes:
        name: its path.
        value: as text; a mask for a secret.
        origin: where it came from.
    """

    name: str
    value: str
    origin: str


def setting_rows(resolved: Resolved, secrets: Set[str] = frozenset()) -> list[Row]:
    """Return every setting of the service.

    Args:
        secrets: of the configuration document, which may stand in any value that it gives.
    """
    rows = []
    for path, setting in catalogue().items():
        value = value_at(resolved.settings, path)
        masked = setting.secret and value not in (None, ())
        shown = MASK if masked else masked_credentials(shown_value(setting, value))
        if resolved.origins[path].kind is OriginKind.DOCUMENT:
            shown = str(masked_value(shown, secrets))
        rows.append(Row(path, shown, str(resolved.origins[path])))
    return rows


def document_rows(loaded: Loaded) -> list[Row]:
    """Return every value of the configuration document, with defaults filled in."""
    secrets = secrets_of(loaded)
    return [
        Row(path_text(path), _plain(_masked(loaded, path, value, secrets)), _origin(loaded, path))
        for path, value in _leaves(loaded.exported, ())
    ]


def json_settings(
    resolved: Resolved, secrets: Set[str] = frozenset(), *, origins: bool
) -> dict[str, Any]:
    """Return the settings as nested objects; durations are in seconds.

    Args:
        secrets: of the configuration document, which may stand in any value that it gives.
        origins: whether each value is an object with ``value`` and ``origin``.
    """
    nested: dict[str, Any] = {}
    for path, setting in catalogue().items():
        value = json_value(value_at(resolved.settings, path))
        value = MASK if setting.secret and value else masked_value(value, frozenset())
        if resolved.origins[path].kind is OriginKind.DOCUMENT:
            value = masked_value(value, secrets)
        within = nested.setdefault(setting.section, {}) if setting.section else nested
        within[setting.name] = (
            {"value": value, "origin": str(resolved.origins[path])} if origins else value
        )
    return nested


def json_document(loaded: Loaded, *, origins: bool) -> Any:
    """Return the value of the configuration document, with defaults filled in.

    Args:
        origins: whether each value is an object with ``value`` and ``origin``.
    """

    secrets = secrets_of(loaded)

    def leaf(path: Path, value: Any) -> Any:
        value = _json_number(_masked(loaded, path, value, secrets))
        return {"value": value, "origin": _origin(loaded, path)} if origins else value

    return _mapped(loaded.exported, (), leaf)


def _mapped(value: Any, path: Path, leaf: Callable[[Path, Any], Any]) -> Any:
    if isinstance(value, dict) and value:
        return {label: _mapped(item, (*path, label), leaf) for label, item in value.items()}
    return leaf(path, value)


def _leaves(value: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for label, item in value.items():
        if isinstance(item, dict) and item:
            yield from _leaves(item, (*path, label))
        else:
            yield (*path, label), item


def secrets_of(loaded: Loaded) -> frozenset[str]:
    """Return the secrets of a document: those in its text, and those that it comes to."""
    written = {
        value
        for path, value in _leaves(loaded.exported, ())
        if is_secret(path) and isinstance(value, str) and loaded.evaluated.written(path)
    }
    return loaded.evaluated.secrets | {value for value in written if value}


def _masked(loaded: Loaded, path: Path, value: Any, secrets: Set[str]) -> Any:
    """Return a value of the document as it is shown."""
    if is_secret(path):
        return MASK
    # A default of the schema that is the same text as a secret does not give it away.
    written = loaded.evaluated.written(path) is not None
    return masked_value(value, secrets if written else frozenset())


def _origin(loaded: Loaded, path: Path) -> str:
    place = loaded.evaluated.written(path)
    return "default" if place is None else str(place)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_plain(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json_number(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_number(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value
