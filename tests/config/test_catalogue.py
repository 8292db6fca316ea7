"""The catalogue of settings, and the reference made from it."""

import json
from dataclasses import fields
from pathlib import Path

import click
import pytest

from connect.cli.options import service_options
from connect.config.catalogue import _FIXED, _LIVE, SettingType, _type_of, catalogue, value_at
from connect.config.reference import Format, example_document, reference, with_generated
from connect.errors import ConfigurationError
from connect.settings import Limits, Settings, Timing

ROOT = Path(__file__).parents[2]
SETTINGS = list(catalogue().values())


@pytest.mark.parametrize("part", [Timing, Limits])
def test_every_limit_and_deadline_is_a_setting(part: type) -> None:
    section = part.__name__.lower()
    assert {f"{section}.{field.name}" for field in fields(part)} <= set(catalogue())


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)
def test_a_setting_says_what_it_is(setting: object) -> None:
    assert getattr(setting, "description", "")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)
def test_a_setting_has_the_default_of_the_service(setting: object) -> None:
    path = getattr(setting, "path", "")
    assert catalogue()[path].default == value_at(Settings(), path)


def test_no_variable_gives_two_settings() -> None:
    names = [setting.variable for setting in SETTINGS]
    assert len(names) == len(set(names))


def options() -> dict[str, click.Option]:
    @click.command()
    @service_options
    def command() -> None: ...

    return {
        option: parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }


@pytest.mark.parametrize(
    "setting",
    [setting for setting in SETTINGS if not setting.flag.startswith("--set ")],
    ids=lambda setting: setting.path,
)
def test_a_flag_of_its_own_and_its_variable_exist(setting: object) -> None:
    path = getattr(setting, "path", "")
    option = options()[catalogue()[path].flag]
    assert option.envvar == catalogue()[path].variable


def test_secrets_are_those_that_their_classes_do_not_show() -> None:
    assert {setting.path for setting in SETTINGS if setting.secret} >= {
        "redis.url",
        "tenant.event_keys",
        "tenant.session_secret",
        "tenant.signing_keys",
    }


@pytest.mark.parametrize(
    ("path", "kind", "unit"),
    [
        ("timing.lease", SettingType.DURATION, "s"),
        ("timing.heartbeat_misses", SettingType.WHOLE, ""),
        ("limits.message_bytes", SettingType.WHOLE, "bytes"),
        ("limits.store_bytes_per_connection", SettingType.WHOLE, "bytes"),
        ("listen.api_port", SettingType.PORT, ""),
        ("listen.advertise_host", SettingType.TEXT, ""),
        ("tenant.signing_keys", SettingType.TEXTS, ""),
        ("tenant.env_id", SettingType.UUID, ""),
        ("redis.layout", SettingType.CHOICE, ""),
        ("roles", SettingType.CHOICES, ""),
    ],
)
def test_a_setting_has_type_and_unit(path: str, kind: SettingType, unit: str) -> None:
    assert (catalogue()[path].type, catalogue()[path].unit) == (kind, unit)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("timing.lease", ("connect", "timing", "lease")),
        ("gateway_group", ("connect", "gateway_group")),
        ("log.level", ("log", "level")),
    ],
)
def test_a_setting_has_its_place_in_documents(path: str, where: tuple[str, ...]) -> None:
    assert catalogue()[path].document_path == where


@pytest.mark.parametrize(
    ("file", "form"),
    [
        ("docs/operations.md", Format.MARKDOWN),
        ("connect/config/schema/config.cue", Format.CUE),
    ],
)
def test_what_is_generated_is_not_stale(file: str, form: Format) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    fresh = with_generated(text, reference(form))
    assert text == fresh, f"run: python -m connect config docs --write {file}"


def test_the_reference_as_json_has_every_setting() -> None:
    listed = json.loads(reference(Format.JSON))
    assert [entry["setting"] for entry in listed] == list(catalogue())
    [lease] = [entry for entry in listed if entry["setting"] == "timing.lease"]
    assert lease == {
        "setting": "timing.lease",
        "type": "duration",
        "unit": "s",
        "least": 0,
        "choices": [],
        "default": 20.0,
        "flag": "--set timing.lease",
        "variable": "CONNECT_TIMING_LEASE",
        "document": "connect.timing.lease",
        "secret": False,
        "reload": False,
        "description": "how long a request's lease lasts unless extended",
    }


def test_the_reference_as_text_tells_all_three_ways_to_give_a_setting() -> None:
    assert (
        "timing.lease: duration (s), default 20s\n"
        "    --set timing.lease, CONNECT_TIMING_LEASE, connect.timing.lease\n"
        "    how long a request's lease lasts unless extended\n"
    ) in reference(Format.TEXT)


def test_the_example_names_every_setting_of_the_section() -> None:
    example = example_document()
    for setting in SETTINGS:
        if setting.document_path[0] == "connect":
            assert f"// {setting.name}: " in example


@pytest.mark.parametrize(
    "text",
    ["", "generated: begin\n", "generated: end\n", "generated: end\ngenerated: begin\n",
     "generated: begin\ngenerated: begin\ngenerated: end\n"],
)  # fmt: skip
def test_a_file_without_its_two_marked_lines_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="generated: begin"):
        with_generated(text, "x")


def test_only_what_is_between_the_marked_lines_changes() -> None:
    text = "a\n<!-- generated: begin -->\nold\n<!-- generated: end -->\nb\n"
    assert with_generated(text, "new\n") == text.replace("old", "new")


@pytest.mark.parametrize(
    ("path", "flag"),
    [
        ("tenant.signing_keys", "--signing-key"),
        ("listen.api_port", "--api-port"),
        ("redis.layout", "--key-layout"),
        ("timing.lease", "--set timing.lease"),
    ],
)
def test_a_setting_has_its_flag(path: str, flag: str) -> None:
    assert catalogue()[path].flag == flag


def test_what_is_fixed_or_live_are_settings() -> None:
    assert set(catalogue()) >= _FIXED | _LIVE


def test_every_type_of_a_field_has_a_type_of_setting() -> None:
    assert _type_of("x.y", "y", bool) == (SettingType.FLAG, ())


def test_a_field_of_another_type_is_told() -> None:
    with pytest.raises(TypeError, match=r"a setting cannot be of type .*complex.*: x\.y"):
        _type_of("x.y", "y", complex)
