"""A configuration from its text to settings."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connect.config.configuration import ConfigLogLevel
from connect.config.cue import Budget
from connect.config.cue.errors import CueError, FaultKind, path_text
from connect.config.finding import Document, DocumentRule
from connect.config.loader import (
    Loaded,
    decode_configuration,
    evaluate_configuration,
    load_configuration,
)

CASES = Path(__file__).parent / "cue" / "cases"
MANIFEST: list[dict[str, Any]] = json.loads((CASES / "manifest.json").read_text(encoding="utf-8"))


def document(text: str) -> Document:
    return Document("inngest.cue", text, DocumentRule.PLACE)


def value(text: str, environment: Mapping[str, str] | None = None) -> Any:
    return evaluate_configuration(document(text), environment=environment or {}).exported


def load(text: str, environment: Mapping[str, str] | None = None) -> Loaded:
    return decode_configuration(
        evaluate_configuration(document(text), environment=environment or {})
    )


def refused(text: str, environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(CueError) as error:
        load(text, environment)
    return str(error.value)


def numbers(value: Any) -> Any:
    """Make numbers comparable by value."""
    match value:
        case dict():
            return {key: numbers(item) for key, item in value.items()}
        case list():
            return [numbers(item) for item in value]
        case bool() | None | str():
            return value
        case _:
            return Decimal(value)


@pytest.mark.parametrize(
    "case",
    [case for case in MANIFEST if case["group"] == "config"],
    ids=lambda case: case["name"],
)
def test_a_case_has_the_outcome_and_value_of_the_reference(case: dict[str, Any]) -> None:
    path = CASES / "config" / case["file"]
    variables = path.with_suffix(".env")
    environment = {}
    if variables.exists():
        lines = variables.read_text(encoding="utf-8").splitlines()
        environment = dict(line.split("=", 1) for line in lines if line)
    text = path.read_text(encoding="utf-8")
    if case["outcome"] == "err":
        with pytest.raises(CueError):
            value(text, environment)
        return
    want = json.loads(path.with_suffix(".want.json").read_text(encoding="utf-8"), parse_float=str)
    assert numbers(value(text, environment)) == numbers(want)


class TestEvaluation:
    @pytest.mark.parametrize("text", ["{}", " \n{}"])
    def test_a_document_that_begins_with_a_brace_is_unified_with_its_definition(
        self, text: str
    ) -> None:
        assert value(text)["eventAPI"]["port"] == 8288

    def test_a_comment_before_the_brace_prevents_that(self) -> None:
        assert value('// c\n{log: level: "debug"}') == {"log": {"level": "debug"}}

    def test_a_struct_may_be_part_of_an_expression(self) -> None:
        assert value('{log: level: "debug"} & {log: format: "console"}')["log"] == {
            "level": "debug",
            "format": "console",
        }

    def test_the_definition_belongs_to_the_first_disjunct(self) -> None:
        assert value('{log: level: "none"} | {log: level: "other"}') == {"log": {"level": "other"}}

    def test_the_definitions_can_be_used_within_a_struct(self) -> None:
        text = '{state: service: c.#RedisState & {host: "r"}}'
        assert value(text)["state"]["service"]["host"] == "r"

    def test_a_field_config_is_the_configuration(self) -> None:
        assert value("config: coreAPI: port: 1\nother: 2") == {"coreAPI": {"port": 1}}

    def test_without_it_the_document_is(self) -> None:
        assert value("coreAPI: port: 1") == {"coreAPI": {"port": 1}}

    @pytest.mark.parametrize("text", ["", " \n\t", "$NOTHING"])
    def test_an_empty_document_is_all_defaults(self, text: str) -> None:
        assert value(text) == value("{}")

    @pytest.mark.parametrize("text", ["5", "[1]", "config: [1]", '"text"'])
    def test_what_is_no_struct_is_refused(self, text: str) -> None:
        assert "a configuration is a struct" in refused(text)

    @pytest.mark.parametrize(("text", "expected"), [("config: 5", 5), ("[1]", [1])])
    def test_what_is_no_struct_has_a_value_all_the_same(self, text: str, expected: Any) -> None:
        assert value(text) == expected

    def test_the_budget_bounds_it(self) -> None:
        text = "a: [1,2,3]\nb: [for x in a for y in a for z in a {x*y*z}]"
        with pytest.raises(CueError) as error:
            evaluate_configuration(document(text), environment={}, budget=Budget(steps=10))
        assert error.value.faults[0].kind is FaultKind.BUDGET


class TestPlaces:
    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("{eventAPI: port: 0}", "inngest.cue:1:18: eventAPI.port: "),
            ("  {\n  eventAPI: port: 0}", "inngest.cue:2:19: eventAPI.port: "),
            ("config: eventAPI: port: 1 & 2", "inngest.cue:1:2"),
            ("{log: x: y}", "inngest.cue:1:10: "),
            ("{log: }", "inngest.cue:1:7: "),
            ("\n{logs: 1}", "inngest.cue:2:"),
        ],
    )
    def test_a_fault_is_told_at_its_place(self, text: str, place: str) -> None:
        assert place in refused(text)

    def test_places_are_those_before_variables_are_expanded(self) -> None:
        text = '{eventAPI: addr: "${LONG}", coreAPI: port: 0}'
        place = text.index("0}") + 1
        assert f"inngest.cue:1:{place}: coreAPI.port: " in refused(text, {"LONG": "x" * 99})

    def test_a_fault_in_a_variables_value_is_told_at_its_reference(self) -> None:
        text = "{eventAPI: port: ${PORT}}"
        message = refused(text, {"PORT": "99999"})
        assert "inngest.cue:1:18: eventAPI.port: " in message
        assert "99999" in message

    def test_a_syntax_error_in_a_variables_value_names_the_variable(self) -> None:
        message = refused('{eventAPI: addr: "${ADDR}"}', {"ADDR": 'a"b'})
        assert "the value of ADDR cannot stand here" in message

    def test_a_syntax_error_behind_a_variable_that_is_not_set_says_so(self) -> None:
        message = refused("{eventAPI: port: ${APP_PORT}}")
        assert "APP_PORT is empty or not set" in message

    def test_a_misspelt_field_suggests_the_nearest_name(self) -> None:
        assert 'did you mean "level"' in refused('{log: levle: "info"}')

    def test_every_fault_is_told(self) -> None:
        message = refused('{log: levle: "info", eventAPI: port: 0, coreAPI: prt: 1}')
        for path in ("log.levle: ", "eventAPI.port: ", "coreAPI.prt: "):
            assert path in message

    def test_a_quoted_line_has_its_secrets_overwritten(self) -> None:
        with pytest.raises(CueError) as error:
            load('{state: service: {password: "hunter2", port: "x"}}')
        quoted = {
            span.source.line(span.position.line)
            for fault in error.value.faults
            for span in fault.spans
            if span.source.name == "inngest.cue"
        }
        assert quoted == {'{state: service: {password: "*******", port: "x"}}'}

    def test_a_value_is_found_where_it_is_written(self) -> None:
        evaluated = load('{\n\tlog: level: "warn"\n}').evaluated
        assert str(evaluated.written(("log", "level"))) == "inngest.cue:2:14"

    @pytest.mark.parametrize("path", [("log", "format"), ("eventAPI",), ("no", "such")])
    def test_a_default_is_not_written(self, path: tuple[str, ...]) -> None:
        assert load('{log: level: "warn"}').evaluated.written(path) is None

    @pytest.mark.parametrize(
        ("path", "place"),
        [
            (("log", "level"), "inngest.cue:2:14"),
            (("log", "format"), "inngest.cue:2:7"),
            (("eventAPI", "port"), "inngest.cue:1:1"),
        ],
    )
    def test_the_nearest_place_around_a_value_is_found(
        self, path: tuple[str, ...], place: str
    ) -> None:
        assert str(load('{\n\tlog: level: "warn"\n}').evaluated.spans(path)[0]) == place

    def test_a_required_value_that_is_not_given_is_told_where_it_belongs(self) -> None:
        text = '{\neventstream: service: {backend: "nats", topic: "t"}\n}'
        message = refused(text)
        assert "inngest.cue:2:23: eventstream.service.serverURL: not given; " in message


class TestDecoding:
    def test_it_becomes_objects_and_settings(self) -> None:
        loaded = load('{log: level: "warn", connect: timing: lease: "1m"}')
        assert loaded.configuration.log.level is ConfigLogLevel.WARN
        assert {path: str(given.origin) for path, given in loaded.layer.items()} == {
            "log.level": "inngest.cue:1:14",
            "timing.lease": "inngest.cue:1:46",
        }

    def test_what_a_partial_document_leaves_out_has_its_default(self) -> None:
        assert load('log: level: "warn"').configuration.core_api.port == 8300

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("config: LOG: 1", ": LOG: "),
            ('log: level: "loud"', "inngest.cue:1:13: log.level: "),
            ("{eventAPI: port: 80.5}", "inngest.cue:1:18: eventAPI.port: 80.5: expected"),
            ("{state: service: db: 1.5}", "state.service.db: 1.5: expected a whole number"),
            ('{connect: timing: lease: "soon"}', "connect.timing.lease: no number at 'soon'"),
            ("{connect: timing: lease: -1}", "connect.timing.lease: "),
            ("{connect: timing: leese: 1}", 'did you mean "lease"'),
            ("{connect: listen: api_port: 70000}", "connect.listen.api_port: "),
            ("{connect: limits: run_calls: 1.5}", "connect.limits.run_calls: "),
            ('{connect: tenant: env_id: "x"}', "connect.tenant.env_id: 'x' is not a UUID"),
            ('{connect: roles: ["cook"]}', "connect.roles"),
        ],
    )
    def test_what_it_refuses_is_told_at_its_place(self, text: str, message: str) -> None:
        assert message in refused(text)

    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ('{state: service: backend: "redis"}', "redis://localhost:6379/0"),
            ('{state: service: host: "h"}', "redis://h:6379/0"),
            ('{state: service: dsn: "redis+cluster://a"}', "redis+cluster://a"),
            ('config: state: service: {backend: "redis", db: 2}', "redis://localhost:6379/2"),
        ],
    )
    def test_redis_that_the_document_gives_is_used(self, text: str, url: str) -> None:
        assert load(text).layer["redis.url"].value == url

    @pytest.mark.parametrize("text", ["{}", "{state: {}}", '{state: service: backend: "inmemory"}'])
    def test_redis_that_is_only_the_default_is_not_used(self, text: str) -> None:
        assert "redis.url" not in load(text).layer


@pytest.mark.parametrize(
    "form", ["{}", "{{{}}}", "config: {{{}}}"], ids=["root", "braces", "field"]
)
def test_what_only_decoding_refuses_is_told_beside_other_faults(form: str) -> None:
    told = refused(
        form.format(
            'log: level: "loud", eventAPI: port: 80.5, '
            'connect: {timing: lease: "20x", limits: connectons: 5}'
        )
    )
    paths = [line.split(": ")[1] for line in told.splitlines()]
    assert paths == [
        "log.level",
        "eventAPI.port",
        "connect.timing.lease",
        "connect.limits.connectons",
    ]


def test_faults_of_a_section_and_of_decoding_are_all_told() -> None:
    told = refused('{log: {level: 5, format: "xml"}, log: level: 6, eventAPI: port: 80.5}')
    assert {"log.level", "log.format", "eventAPI.port"} <= set(told.replace(": ", "\n").split("\n"))


def test_loading_goes_by_the_rules() -> None:
    files = {Path("inngest.json"): '{"log": {"level": "${LEVEL}"}}'}
    loaded = load_configuration(None, environment={"LEVEL": "error"}, read=files.get)
    assert loaded.document.name == "inngest.json"
    assert loaded.configuration.log.level is ConfigLogLevel.ERROR


def test_a_document_that_is_bad_is_never_skipped() -> None:
    files = {Path("inngest.cue"): "{", Path("inngest.json"): "{}"}
    with pytest.raises(CueError, match=r"inngest\.cue"):
        load_configuration(None, environment={}, read=files.get)


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("config: {%s}", '"info" & "debug"'),
        ("%s", '"info" & "debug"'),
        ("{%s}", '"info" & "debug"'),
        ("config: {%s}", "string"),
        ("%s", "string"),
    ],
)
def test_a_value_that_cannot_be_hides_no_fault_elsewhere(form: str, first: str) -> None:
    text = form % (
        f'log: level: {first}, eventAPI: {{port: 80.5, prt: 1}}, connect: timing: lease: "soon"'
    )
    with pytest.raises(CueError) as caught:
        load(text)
    assert [path_text(fault.path) for fault in caught.value.faults] == [
        "log.level",
        "eventAPI.port",
        "eventAPI.prt",
        "connect.timing.lease",
    ]


def test_what_follows_from_a_conflict_is_not_told_again() -> None:
    with pytest.raises(CueError) as caught:
        load('config: {log: 1 & 2, state: service: {backend: "redis", port: 0}}')
    assert [path_text(fault.path) for fault in caught.value.faults] == ["log", "state.service.port"]
