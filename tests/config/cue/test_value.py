"""Values as others use them: looked up, walked, unified, checked, from several threads."""

import threading
from decimal import Decimal

import pytest

from connect.config.cue import (
    Budget,
    CueError,
    FaultKind,
    Kind,
    Source,
    Value,
    compile_document,
    compile_package,
)
from connect.config.cue.parser import parse


def document(text: str) -> Value:
    return compile_document(Source("x", text))


def found(value: Value, *path: str | int) -> Value:
    part = value.lookup(*path)
    assert part is not None
    return part


def test_a_path_leads_through_fields_and_elements() -> None:
    assert found(document("a: [{b: 1}]"), "a", 0, "b").export() == 1


def test_a_path_that_leads_nowhere_gives_nothing() -> None:
    assert document("a: 1").lookup("b", "c") is None


def test_a_label_with_a_number_sign_is_a_definition() -> None:
    assert found(document('#a: 1\n"#a": 2'), "#a").export() == 1


def test_a_quoted_label_is_found_where_there_is_no_definition() -> None:
    assert found(document('"#a": 2'), "#a").export() == 2


def test_a_label_with_an_underscore_is_a_hidden_field() -> None:
    assert found(document('_a: 1\n"_a": 2'), "_a").export() == 1


def test_a_path_leads_through_a_default() -> None:
    assert found(document("a: *{b: 1} | {b: 2}"), "a", "b").export() == 1


def test_a_value_knows_its_path() -> None:
    assert found(document("a: [{b: 1}]"), "a", 0, "b").path == ("a", 0, "b")


def test_the_fields_of_a_struct_are_those_that_are_data() -> None:
    fields = document("b: 1\n_c: 2\n#d: 3\na: 4").fields()
    assert [(label, value.export()) for label, value in fields] == [("b", 1), ("a", 4)]


def test_hidden_fields_and_definitions_can_be_had_too() -> None:
    assert [label for label, _ in document("_c: 2\n#d: 3").fields(hidden=True)] == ["_c", "#d"]


def test_the_elements_of_a_list() -> None:
    value = found(document("a: {[1, 2], #b: 3}"), "a")
    assert [element.export() for element in value.elements()] == [1, 2]


def test_a_value_knows_its_kinds() -> None:
    value = document('a: 1 | "x"')
    assert found(value, "a").kind == Kind.INT | Kind.STRING


def test_an_error_is_of_no_kind() -> None:
    assert found(document("a: 1 & 2"), "a").kind == Kind.BOTTOM


def test_the_kind_is_that_of_the_default() -> None:
    assert found(document('a: *1 | "x"'), "a").kind == Kind.INT


def test_a_value_knows_where_it_was_written() -> None:
    value = found(document("b: a\na: int\na: 1"), "a")
    assert [str(span) for span in value.spans] == ["x:3:4", "x:2:4"]


def test_a_referred_value_knows_where_its_atom_was_written() -> None:
    value = found(document("b: a\na: 1"), "b")
    assert [str(span) for span in value.spans] == ["x:2:4", "x:1:4"]


def test_a_struct_knows_where_it_was_written() -> None:
    assert [str(span) for span in found(document("a: {b: 1}"), "a").spans] == ["x:1:4"]


def test_the_default_of_a_disjunction() -> None:
    assert found(document("a: *{b: 1} | {b: 2}"), "a").default().export() == {"b": 1}


def test_what_is_no_disjunction_is_its_own_default() -> None:
    value = document("a: 1")
    assert value.default() is value


def test_a_default_can_be_unified_as_the_disjunction_that_it_was() -> None:
    value = found(document("a: *{b: 1} | {b: 2}"), "a").default()
    assert value.unify(document("b: 2")).export() == {"b": 2}


def test_a_value_is_written_as_cue() -> None:
    value = document("#a: int\nb: *1 | 2\nc: [1, ...int]\nd: {e: >1}\n\"f g\": 'x'")
    assert value.text() == ("{#a: int, b: *1 | 2, c: [1, ...], d: {e: >1}, \"f g\": 'x'}")


def test_export_gives_plain_data_in_order() -> None:
    value = document('b: 1\na: [1.50, true, null, \'x\']\nc: *"y" | "z"')
    assert list(value.export().items()) == [
        ("b", 1),
        ("a", [Decimal("1.50"), True, None, "eA=="]),
        ("c", "y"),
    ]


def test_export_of_what_is_wrong_raises_every_fault() -> None:
    with pytest.raises(CueError) as caught:
        document("a: 1 & 2\nb: int").export()
    assert [fault.kind for fault in caught.value.faults] == [
        FaultKind.EVALUATION,
        FaultKind.INCOMPLETE,
    ]


def test_what_is_incomplete_is_no_fault_unless_asked_for() -> None:
    value = document("a: int\nb: a + 1")
    assert value.faults(concrete=False) == ()


def test_validation_passes_what_is_fine() -> None:
    document("a: 1").validate()


def test_a_part_is_checked_without_the_rest() -> None:
    assert found(document("a: 1 & 2\nb: 1"), "b").faults() == ()


def test_values_of_two_documents_are_unified() -> None:
    both = document("a: int").unify(document("a: 1\nb: 2"))
    assert both.export() == {"a": 1, "b": 2}


def test_unifying_changes_neither_value() -> None:
    left, right = document("a: {b: int}"), document("a: {b: 1}")
    left.unify(right)
    assert left.text() == "{a: {b: int}}"


def test_a_definition_closes_what_it_is_unified_with() -> None:
    definition = found(document("#A: {a: int}"), "#A")
    faults = document("b: 1\na: 1").unify(definition).faults()
    assert [fault.message for fault in faults] == ["field not allowed: b"]


def test_what_is_in_a_definition_closes_too() -> None:
    definition = found(document("#A: b: {a: int}"), "#A", "b")
    assert document("c: 1").unify(definition).faults(concrete=False) != ()


def test_a_unification_can_be_looked_into_and_unified_again() -> None:
    both = document("a: b: int").unify(document("a: c: 2"))
    assert found(both, "a").unify(document("b: 1")).export() == {"b": 1, "c": 2}


def test_parts_of_a_unification_keep_the_path_of_the_document() -> None:
    value = found(document("f: a: int"), "f").unify(document("b: 2"))
    assert [fault.path for fault in value.faults()] == [("f", "a")]


def test_a_parsed_document_is_taken_too() -> None:
    assert compile_document(parse(Source("x", "a: 1"))).export() == {"a": 1}


def test_a_package_is_imported_by_its_path() -> None:
    package = compile_package(Source("p", "#A: {a: int | *1}"), "example.com/p")
    text = 'import "example.com/p"\nb: p.#A'
    value = compile_document(Source("x", text), packages={"example.com/p": package})
    assert value.export() == {"b": {"a": 1}}


def test_a_package_is_taken_as_source() -> None:
    packages = {"example.com/p": Source("p", "a: 1")}
    value = compile_document(Source("x", 'import q "example.com/p"\nb: q.a'), packages=packages)
    assert value.export() == {"b": 1}


def test_the_package_name_may_be_given_with_the_path() -> None:
    packages = {"example.com/p": Source("p", "a: 1")}
    text = 'import "example.com/p:q"\nb: q.a'
    assert compile_document(Source("x", text), packages=packages).export() == {"b": 1}


def test_the_hidden_fields_of_a_package_are_its_own() -> None:
    packages = {"example.com/p": Source("p", "_a: 1\nb: _a")}
    text = 'import "example.com/p"\nc: p._a'
    value = compile_document(Source("x", text), packages=packages)
    assert [fault.message for fault in value.faults()] == [
        'undefined field: _a; did you mean "_a"?'.partition(";")[0]
    ]


def test_a_package_imports_others() -> None:
    inner = compile_package(Source("q", "a: 1"), "example.com/q")
    outer = compile_package(
        Source("p", 'import "example.com/q"\nb: q.a'),
        "example.com/p",
        packages={"example.com/q": inner},
    )
    text = 'import "example.com/p"\nc: p.b'
    value = compile_document(Source("x", text), packages={"example.com/p": outer})
    assert value.export() == {"c": 1}


def test_an_unknown_package_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(CueError) as caught:
        document('import "string"\na: 1')
    assert str(caught.value) == 'x:1:8: cannot find package "string"; did you mean "strings"?'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('import "strngs"\na: strings.Trim', 'x:2:4: a: reference "strings" not found; '
         'is import "strings" missing?'),
        ("a: json.Marshal(1)", 'x:1:4: a: reference "json" not found; '
         'is import "encoding/json" missing?'),
    ],
)  # fmt: skip
def test_the_name_of_a_package_that_is_not_imported_asks_for_the_import(
    text: str, told: str
) -> None:
    with pytest.raises(CueError) as caught:
        document(text)
    assert told in str(caught.value).splitlines()


def test_faults_of_names_come_in_the_order_of_the_document() -> None:
    with pytest.raises(CueError) as caught:
        document("let x = y\na: z")
    assert [str(fault.spans[0]) for fault in caught.value.faults] == ["x:1:5", "x:1:9", "x:2:4"]


def test_places_in_the_document_come_before_those_in_a_package() -> None:
    packages = {"example.com/p": Source("p", "#A: {a: string}")}
    text = 'import "example.com/p"\nb: p.#A & {a: 1}'
    value = compile_document(Source("x", text), packages=packages)
    assert [str(span) for span in value.faults()[0].spans] == ["x:2:15", "p:1:9"]


def test_what_is_missing_is_told_at_the_struct_that_misses_it() -> None:
    packages = {"example.com/p": Source("p", "#A: {a: string}")}
    text = 'import "example.com/p"\nb: p.#A & {}'
    value = compile_document(Source("x", text), packages=packages)
    assert [str(span) for span in value.faults()[0].spans] == ["x:2:4", "p:1:9"]


def test_many_threads_evaluate_one_document() -> None:
    package = compile_package(Source("p", "#A: {a: int | *1, b: [...#A]}"), "example.com/p")
    text = 'import "example.com/p"\nc: {for i in ["x", "y"] {(i): p.#A & {b: [{}, {a: 2}]}}}'
    shared = compile_document(Source("x", text), packages={"example.com/p": package})
    results: list[object] = []

    def evaluate() -> None:
        own = compile_document(Source("x", text), packages={"example.com/p": package})
        results.extend((own.export(), shared.export(), shared.unify(own).export()))

    threads = [threading.Thread(target=evaluate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one = {"a": 1, "b": [{"a": 1, "b": []}, {"a": 2, "b": []}]}
    assert results == [{"c": {"x": one, "y": one}}] * 12


SECRET = "postgres://user:hunter2@db/x"

HIDDEN = {
    "a conflict of the secret": f'dsn: "{SECRET}"\ndsn: 5',
    "a conflict of two secrets": f'dsn: "{SECRET}"\ndsn: "{SECRET}2"',
    "a struct with the secret": f'a: {{dsn: "{SECRET}"}}\na: 5',
    "an evaluated struct with the secret": f'_b: {{dsn: "{SECRET}"}}\na: "\\(_b)"',
    "the secret elsewhere": f'dsn: "{SECRET}"\na: dsn + 1',
    "a text with the secret in it": f'dsn: "{SECRET}"\na: "x \\(dsn)" & 1',
    "a choice of secrets": f'dsn: "{SECRET}" | "x"',
    "the source of an expression": f'dsn: "{SECRET}"\na: -"{SECRET}"',
    "a bound that the secret is out of": f'dsn: "{SECRET}" & =~"^x"',
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_secrets_are_not_told(text: str) -> None:
    value = compile_document(Source("x", text), redact=lambda path: path[-1:] == ("dsn",))
    messages = [fault.message for fault in value.faults()]
    assert messages
    assert not [message for message in messages if "hunter2" in message]


def test_a_secret_of_a_few_letters_does_not_hide_other_texts() -> None:
    value = compile_document(
        Source("x", 'dsn: "a"\nb: "bad" & 1'), redact=lambda path: "dsn" in path
    )
    assert [fault.message for fault in value.faults()] == [
        'conflicting values "bad" and 1 (mismatched types string and int)'
    ]


def test_a_secret_is_written_as_an_ellipsis() -> None:
    value = compile_document(Source("x", 'dsn: "a" & "b"'), redact=lambda path: "dsn" in path)
    assert [fault.message for fault in value.faults()] == ["conflicting values … and …"]


def test_a_value_shows_its_path() -> None:
    assert repr(found(document("a: b: 1"), "a", "b")) == "<Value a.b>"


def test_the_budget_is_that_of_the_first_of_two_values() -> None:
    small = compile_document(Source("x", "a: 1"), budget=Budget(steps=0))
    faults = small.unify(document("b: [1, 2, 3, 4, 5, 6, 7]")).faults()
    assert [fault.kind for fault in faults] == [FaultKind.BUDGET]
