"""Documents made ready for evaluation, and where their faults are told."""

from connect.config.cue import Budget, Fault, FaultKind, Source, Span
from connect.config.cue.parser import parse
from connect.config.documents import (
    CONFIGURATION,
    FUNCTION,
    begins_with_brace,
    bound,
    definition,
    evaluated,
    placed,
    places,
    wrapped,
)

SOURCE = Source("x.cue", '{log: level: "warn"}')
ELSEWHERE = Source("definitions", "level: string")


def written(span: Span) -> bool:
    return span.source is SOURCE


def test_space_before_a_brace_does_not_matter_but_a_comment_does() -> None:
    assert begins_with_brace("\n\t {}")
    assert not begins_with_brace("// {\n{}")
    assert not begins_with_brace("")


def test_the_definitions_can_be_had_by_themselves() -> None:
    for kind, field in ((CONFIGURATION, "log"), (FUNCTION, "id")):
        assert definition(kind).lookup(field) is not None


def test_a_struct_becomes_a_field_unified_with_its_definition() -> None:
    value = evaluated(wrapped(parse(SOURCE), CONFIGURATION))
    port = value.lookup("config", "eventAPI", "port")
    assert port is not None
    assert port.export() == 8288


def test_a_field_is_bound_to_its_definition() -> None:
    file = parse(Source("f.cue", 'function: {id: "f", name: "n"}'))
    triggers = evaluated(bound(file, FUNCTION)).lookup("function", "triggers")
    assert triggers is not None
    assert triggers.export() == []


def test_the_places_of_a_value_are_those_in_the_document() -> None:
    value = evaluated(wrapped(parse(SOURCE), CONFIGURATION))
    [span] = places(value, ("config", "log", "level"), written)
    assert span.text == '"warn"'


def test_a_value_that_cannot_be_evaluated_is_found_around_it() -> None:
    value = evaluated(wrapped(parse(SOURCE), CONFIGURATION), budget=Budget(depth=1))
    [span] = places(value, ("config", "log", "level"), written)
    assert span.text == SOURCE.text


def test_what_the_document_does_not_write_at_all_has_no_places() -> None:
    assert places(definition(FUNCTION), ("id",), written) == ()


def test_a_fault_has_its_place_in_the_document_first() -> None:
    own, other, nowhere = Span(SOURCE, 1, 2), Span(ELSEWHERE, 1, 2), Span(Source("", ""), 0, 0)
    fault = Fault(FaultKind.EVALUATION, "wrong", (), (nowhere, other, own))
    assert placed(fault, None, written).spans == (own, other)


def test_a_fault_of_a_definition_gets_the_nearest_place_in_the_document() -> None:
    value = evaluated(wrapped(parse(SOURCE), CONFIGURATION))
    other = Span(ELSEWHERE, 1, 2)
    path = ("config", "log", "format")
    fault = placed(Fault(FaultKind.EVALUATION, "wrong", path, (other,)), value, written)
    assert [span.source for span in fault.spans] == [SOURCE, ELSEWHERE]
    assert fault.message == "wrong"


def test_what_the_document_does_not_give_is_told_so() -> None:
    value = evaluated(wrapped(parse(SOURCE), CONFIGURATION))
    fault = Fault(FaultKind.INCOMPLETE, "incomplete", ("config", "log", "format"))
    assert placed(fault, value, written).message == "not given; incomplete"


def test_a_place_in_a_value_that_does_not_exist_is_that_around_it() -> None:
    value = evaluated(wrapped(parse(SOURCE), CONFIGURATION))
    fault = Fault(FaultKind.INCOMPLETE, "incomplete", ("config", "log", "no", "such"))
    shown = placed(fault, value, written)
    assert shown.message == "incomplete"
    assert shown.spans[0].source is SOURCE
