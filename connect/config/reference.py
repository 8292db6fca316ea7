"""The reference of the service's settings, in several shapes, made from the catalogue.

Files contain such a text between two marked lines, and everything else in them is written
by hand: `with_generated` puts the text of today there.
"""

import json
import textwrap
from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby
from typing import Any

from connect.config.catalogue import Setting, SettingType, catalogue
from connect.errors import ConfigurationError
from connect.protocol.durations import format_duration

__all__ = [
    "Format",
    "example_document",
    "json_value",
    "reference",
    "shown_value",
    "with_generated",
]

_BEGIN = "generated: begin"
_END = "generated: end"


class Format(StrEnum):
    """The shapes of the reference: a table, JSON, plain text, the definition ``#Connect``."""

    MARKDOWN = "markdown"
    JSON = "json"
    TEXT = "text"
    CUE = "cue"


def reference(form: Format) -> str:
    """Return the reference of all settings, ending with a line break."""
    match form:
        case Format.MARKDOWN:
            return _markdown()
        case Format.JSON:
            return _json()
        case Format.TEXT:
            return _text()
        case Format.CUE:
            return _cue()


def with_generated(text: str, generated: str) -> str:
    """Return the text of a file with what is generated in it replaced.

    Raises:
        ConfigurationError: the file has no two lines that say ``generated: begin`` and
            ``generated: end``.
    """
    lines = text.splitlines(keepends=True)
    begins = [number for number, line in enumerate(lines) if _BEGIN in line]
    ends = [number for number, line in enumerate(lines) if _END in line]
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise ConfigurationError(
            f"there must be one line with {_BEGIN!r} and, after it, one with {_END!r}"
        )
    return "".join(lines[: begins[0] + 1]) + generated + "".join(lines[ends[0] :])


def json_value(value: Any) -> Any:
    """Return a setting's value as JSON has it: durations in seconds, sets in order."""
    match value:
        case frozenset():
            return sorted(value)
        case tuple():
            return list(value)
        case _:
            return value


def shown_value(setting: Setting, value: Any) -> str:
    """Return a setting's value for people, such as ``20s`` or ``8388608 bytes``."""
    if value is None or value == ():
        return "none"
    if setting.type is SettingType.DURATION:
        return format_duration(value)
    if isinstance(value, frozenset | tuple):
        return ",".join(sorted(value))
    return f"{value} {setting.unit}".rstrip()


def _kind(setting: Setting) -> str:
    if setting.choices:
        names = ", ".join(f"`{choice}`" for choice in sorted(setting.choices))
        return f"{'any' if setting.type is SettingType.CHOICES else 'one'} of {names}"
    least = f", {setting.least} or more" if setting.least else ""
    return f"{setting.type}{least}" + (f" ({setting.unit})" if setting.unit else "")


def _markdown() -> str:
    rows = [
        "\n",
        "| setting | default | type | flag | variable | reload | what it is |\n",
        "|---|---|---|---|---|---|---|\n",
    ]
    rows += [
        f"| `{setting.path}` | {_markdown_default(setting)} | {_kind(setting)} "
        f"| `{setting.flag}` | `{setting.variable}` | {'yes' if setting.live else 'no'} "
        f"| {setting.description.replace('|', chr(92) + '|')} |\n"
        for setting in catalogue().values()
    ]
    return "".join([*rows, "\n"])


def _markdown_default(setting: Setting) -> str:
    if setting.type is SettingType.DURATION:
        return f"{setting.default:g} s"
    shown = shown_value(setting, setting.default)
    plain = shown == "none" or setting.type in (SettingType.WHOLE, SettingType.PORT)
    return shown if plain else f"`{shown}`"


def _json() -> str:
    settings = [
        {
            "setting": setting.path,
            "type": str(setting.type),
            "unit": setting.unit,
            "least": setting.least,
            "choices": sorted(setting.choices),
            "default": json_value(setting.default),
            "flag": setting.flag,
            "variable": setting.variable,
            "document": ".".join(setting.document_path),
            "secret": setting.secret,
            "reload": setting.live,
            "description": setting.description,
        }
        for setting in catalogue().values()
    ]
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


def _text() -> str:
    blocks = []
    for setting in catalogue().values():
        given = f"{setting.flag}, {setting.variable}, {'.'.join(setting.document_path)}"
        default = shown_value(setting, setting.default)
        kind = _kind(setting).replace("`", "")
        blocks.append(
            f"{setting.path}: {kind}, default {default}\n"
            f"    {given}\n"
            f"{textwrap.indent(textwrap.fill(setting.description, 84), '    ')}\n"
        )
    return "\n".join(blocks)


_CUE_TYPES = {
    SettingType.TEXT: "string",
    SettingType.TEXTS: "[...string]",
    SettingType.UUID: "string",
    SettingType.PORT: "uint & <=65535",
    SettingType.WHOLE: "uint",
    SettingType.DURATION: "#Duration",
    SettingType.FLAG: "bool",
}


def _cue() -> str:
    lines = ["\n#Connect: {\n"]
    for section, group in groupby(_document_settings(), key=lambda setting: setting.section):
        indent = "\t\t" if section else "\t"
        if section:
            lines.append(f"\t{section}?: {{\n")
        settings = list(group)
        width = max(len(setting.name) for setting in settings) + 2
        for setting in settings:
            label = f"{setting.name}?:"
            lines.append(f"{indent}{label:{width}} {_cue_type(setting)}\n")
        if section:
            lines.append("\t}\n")
    return "".join([*lines, "}\n\n"])


def _cue_type(setting: Setting) -> str:
    if not setting.choices:
        return _CUE_TYPES[setting.type]
    choices = " | ".join(json.dumps(choice) for choice in sorted(setting.choices))
    return f"[...({choices})]" if setting.type is SettingType.CHOICES else choices


def _document_settings() -> Iterator[Setting]:
    """Yield what the section ``connect`` has, the settings outside sections first."""
    settings = [item for item in catalogue().values() if item.document_path[0] == "connect"]
    yield from (setting for setting in settings if not setting.section)
    yield from (setting for setting in settings if setting.section)


_EXAMPLE_HEAD = """\
// The configuration of Connect. What is not given has its default, so that
// this file changes nothing until you uncomment a line.
//
//     python -m connect config check FILE    is it right?
//     python -m connect config show FILE     what results from it
//     python -m connect config docs          every setting
//
// $NAME and ${NAME} stand for environment variables, everywhere in this file; keep
// secrets there.
package main

import defs "inngest.com/defs/config"

config: defs.#Config & {
	// What is logged: "trace", "debug", "info", "warn" or "error"; "json" or "console".
	// log: level:  "info"
	// log: format: "console"

	// The API's address and port.
	// eventAPI: addr: "0.0.0.0"
	// eventAPI: port: 8288

	// Where state lives. Without this it is embedded in the process, in memory only.
	// state: service: {
	// 	backend: "redis"
	// 	dsn:     "${REDIS_URL}"
	// }

	// The gateway's own settings; durations are texts such as "20s" or numbers of seconds.
	connect: {
"""


def example_document() -> str:
    """Return a document that names every setting, each in a comment with its default."""
    lines = [_EXAMPLE_HEAD]
    for section, group in groupby(_document_settings(), key=lambda setting: setting.section):
        indent = "\t\t\t" if section else "\t\t"
        if section:
            lines.append(f"\n\t\t{section}: {{\n")
        for number, setting in enumerate(group):
            lines += "\n" if number else ""
            description = textwrap.wrap(_sentence(setting.description), 84)
            lines += [f"{indent}// {line}\n" for line in description]
            lines.append(f"{indent}// {setting.name}: {_example_value(setting)}\n")
        if section:
            lines.append("\t\t}\n")
    return "".join([*lines, "\t}\n}\n"])


def _sentence(text: str) -> str:
    """Begin with a capital, unless it begins with a name such as gRPC; end with a stop."""
    return f"{text if text[1:2].isupper() else text[:1].upper() + text[1:]}."


_EXAMPLE_VALUES = {
    "listen.advertise_host": '"gateway-1.internal"',
    "listen.gateway_url": '"wss://connect.example.com"',
    "listen.trusted_proxies": '["10.0.0.0/8"]',
    "tenant.accepted_session_secrets": '["${OLD_SESSION_SECRET}"]',
    "tenant.register_url": '"https://api.example.com"',
    "tenant.session_secret": '"${SESSION_SECRET}"',
    "tenant.signing_keys": '["${SIGNING_KEY}"]',
    "tenant.event_keys": '["${EVENT_KEY}"]',
    "redis.url": '"${REDIS_URL}"',
}


def _example_value(setting: Setting) -> str:
    if setting.path in _EXAMPLE_VALUES:
        return _EXAMPLE_VALUES[setting.path]
    if setting.type is SettingType.DURATION:
        return json.dumps(format_duration(setting.default))
    return json.dumps(json_value(setting.default))
