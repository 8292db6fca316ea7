"""Faults behind names that stand for nothing."""

import pytest

from connect.config.cue.errors import CueError, Fault, FaultKind, path_text
from connect.config.cue.printer import render_faults
from connect.config.cue.source import Source, Span
from connect.config.finding import Document, DocumentRule
from connect.config.function_files import check_sources, evaluate_function
from connect.config.loader import evaluate_configuration
from connect.config.unknown_names import besides, opened


def unknown(source: Source, name: str) -> Fault:
    at = source.text.index(name)
    return Fault(
        FaultKind.REFERENCE,
        f'reference "{name}" not found',
        spans=(Span(source, at, at + len(name)),),
    )


def told(text: str) -> list[str]:
    """The paths of what is wrong with a definition."""
    faults = check_sources([(Source("f.cue", text), True)]).faults
    assert all(fault.spans[0].source.text == text for fault in faults)
    return [path_text(fault.path) for fault in faults]


def test_everything_else_stands_where_it_stood() -> None:
    source = Source("x", "a: foo & 1, b: bar")
    found = opened(source, [unknown(source, "bar"), unknown(source, "foo")])
    assert found is not None
    assert (found.name, found.text) == ("x", "a: _   & 1, b: _  ")


def test_a_document_of_known_names_stays_as_it_is() -> None:
    source = Source("x", "a: 1 & 2")
    unused = Fault(FaultKind.REFERENCE, 'unreferenced alias or let clause "a"')
    assert opened(source, [Fault(FaultKind.EVALUATION, "conflict"), unused]) is None


def test_what_may_follow_from_the_names_and_what_is_told_is_left_out() -> None:
    source, open_source = Source("x", "a: foo"), Source("x", "a: _  ")
    span = Span(open_source, 0, 1)
    known = Fault(FaultKind.EVALUATION, "known", ("a",), (span,))
    new = Fault(FaultKind.EVALUATION, "new", ("a",), (span, Span(Source("y", ""), 0, 0)))
    incomplete = Fault(FaultKind.INCOMPLETE, "incomplete", ("a",), (span,))
    [found] = besides([known], [known, incomplete, new], source)
    assert found.message == "new"
    assert [each.source.name for each in found.spans] == ["x", "y"]
    assert found.spans[0].source is source


@pytest.mark.parametrize("form", ["function: {%s}", "{%s}"])
def test_a_function_is_checked_behind_them(form: str) -> None:
    text = form % 'id: foo, nme: 1, triggers: [{cron: "bad"}], concurrency: -1'
    assert [path.removeprefix("function.") for path in told(text)] == [
        "id",
        "nme",
        "triggers[0].cron",
        "concurrency",
    ]


def test_a_function_that_does_not_need_them_is_checked_beyond_the_schema() -> None:
    text = '_x: foo\nfunction: {id: "f", name: "F", triggers: [{cron: "bad"}]}'
    assert told(text) == ["_x", "function.triggers[0].cron"]


def test_of_alternatives_what_was_meant_is_told() -> None:
    text = 'function: {id: foo, name: "F", triggers: [{event: "a", expresion: bar}]}'
    with pytest.raises(CueError) as caught:
        evaluate_function(Source("f.cue", text))
    assert 'field not allowed: expresion; did you mean "expression"?' in str(caught.value)


def test_a_name_may_stand_for_the_function_itself() -> None:
    assert told("nope") == [""]


def test_a_value_that_could_be_anything_has_no_fault_of_its_own() -> None:
    assert told("function: foo") == ["function"]


def test_a_fault_of_another_kind_that_leaves_no_value_ends_it() -> None:
    text = 'import "nope"\nfunction: {id: nope.x, name: foo, nme: 1, triggers: []}'
    assert told(text) == ["", "function.name"]


@pytest.mark.parametrize("form", ["config: {%s}", "%s", "{%s}"])
def test_a_configuration_is_checked_behind_them(form: str) -> None:
    text = form % (
        "log: level: $LEVEL, log: frmat: json, eventAPI: port: 80.5, connect: timing: lease: -1"
    )
    document = Document("c.cue", text, DocumentRule.EXPLICIT)
    with pytest.raises(CueError) as caught:
        evaluate_configuration(document, environment={"LEVEL": "loud"})
    faults = caught.value.faults
    assert [path_text(fault.path) for fault in faults] == [
        "log.level",
        "log.frmat",
        "log.frmat",
        "eventAPI.port",
        "connect.timing.lease",
    ]
    assert [fault.spans[0].start for fault in faults] == [
        text.index(part) for part in ("$LEVEL", "frmat", "json", "80.5", "-1")
    ]


def test_a_secret_without_quotes_does_not_show_in_what_stands_behind_it() -> None:
    text = '{state: service: {password: hunter2, prt: 1, host: "hunter2"}, log: level: "hunter2"}'
    document = Document("c.cue", text, DocumentRule.EXPLICIT)
    with pytest.raises(CueError) as caught:
        evaluate_configuration(document, environment={})
    assert len(caught.value.faults) > 1
    assert "hunter2" not in render_faults(caught.value)
