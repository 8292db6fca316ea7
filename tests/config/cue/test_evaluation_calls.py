"""Calls of functions: what they make of arguments, and what they refuse."""

import pytest

from tests.config.cue.evaluating import exported, refusal

CALLS = {
    "a struct as a value to be validated": (
        'import "encoding/json"\na: json.Validate({b: int}) & "{\\"b\\": 1}"',
        '{"a":"{\\"b\\": 1}"}',
    ),
    "a default as an argument": ("b: *[1] | [2, 3]\na: len(b)", '{"b":[1],"a":1}'),
    "elements with defaults": (
        'import "list"\na: list.Sum([*1 | 2, 3])',
        '{"a":4}',
    ),
    "nested data": (
        'import "encoding/json"\na: json.Marshal({b: [1, {c: null}], _d: 2})',
        '{"a":"{\\"b\\":[1,{\\"c\\":null}]}"}',
    ),
}


@pytest.mark.parametrize(("text", "result"), CALLS.values(), ids=CALLS)
def test_a_call(text: str, result: str) -> None:
    assert exported(text) == result


def test_a_value_that_json_is_not() -> None:
    (fault,) = refusal('import "encoding/json"\na: json.Validate({b: int}) & "true"')
    assert fault.startswith('2:30: a: invalid value "true" (does not satisfy')


def test_data_that_is_not_concrete_is_not_written() -> None:
    assert refusal('import "encoding/json"\n_b: int\na: json.Marshal({b: _b})') == [
        "3:21: a: non-concrete value int"
    ]


JOINED = {
    "an element that is not known": ("a: or([b.x, 3])\nb: {}", '{"a":3,"b":{}}'),
    "the elements of a field that has others": (
        '#S: {names: [...string], name: or(names)}\na: #S & {names: ["p", "q"], name: "q"}',
        '{"a":{"names":["p","q"],"name":"q"}}',
    ),
    "a definition that joins itself, beside null": (
        "#a: and([#a, #a.x]) | null\nb: #a",
        '{"b":null}',
    ),
}


@pytest.mark.parametrize(("text", "result"), JOINED.values(), ids=JOINED)
def test_elements_that_are_joined(text: str, result: str) -> None:
    assert exported(text) == result


NOT_JOINED = {
    "an element that is an error": (
        "a: or([1 & 2, 3])",
        ["1:12: a: conflicting values 1 and 2"],
    ),
    "an element with an error in it": (
        "a: or([{b: 1 & 2}, 3])",
        ["1:16: a: conflicting values 1 and 2"],
    ),
    "an element that is the result": (
        "a: and([b, c])\nb: a\nc: 3",
        [
            "1:9: a: structural cycle: the value contains itself, without end",
            "1:9: b: structural cycle: the value contains itself, without end",
        ],
    ),
}


@pytest.mark.parametrize(("text", "faults"), NOT_JOINED.values(), ids=NOT_JOINED)
def test_an_error_in_an_element_is_one_of_the_call(text: str, faults: list[str]) -> None:
    assert refusal(text) == faults


@pytest.mark.parametrize("check", ["math.MultipleOf(5)", "math.Signbit()", "math.Signbit"])
def test_a_function_of_numbers_is_no_validator(check: str) -> None:
    (fault,) = refusal(f'import "math"\na: {check} & -10')
    assert "as of v0.4.2 a function of numbers is no validator" in fault


PACKAGES = {
    "a member by its name as a string": ('a: math["MaxExp"]', '{"a":2147483647}'),
    "a member of a package that a let names": ("let m = math\na: m.MaxExp", '{"a":2147483647}'),
    "a function by its name as a string": ('a: math["Floor"](1.5)', '{"a":1}'),
}


@pytest.mark.parametrize(("text", "result"), PACKAGES.values(), ids=PACKAGES)
def test_a_package_is_selected_from_as_a_struct_is(text: str, result: str) -> None:
    assert exported(f'import "math"\n{text}') == result


@pytest.mark.parametrize("text", ['a: math["Nope"]', "let m = math\na: m.Nope"])
def test_what_a_package_does_not_have_is_undefined(text: str) -> None:
    (fault,) = refusal(f'import "math"\n{text}')
    assert 'undefined field: Nope (no such member of package "math")' in fault


VALIDATED = {
    "a definition": ("#D: {a: int}", "#D", '{"a": 1}'),
    "an open definition": ("#D: {a: int, ...}", "#D", '{"a": 1, "b": 2}'),
    "a struct that is open": ("d: {a: 1}", "d", '{"a": 1, "b": 2}'),
    "a list": ("#D: [{a: int}]", "#D", '[{"a": 1}]'),
    "a default": ("#D: *{a: int} | {b: int}", "#D", '{"a": 1}'),
    "a list as the default": ("#D: *[int] | {b: int}", "#D", "[1]"),
}


@pytest.mark.parametrize(("schema", "name", "data"), VALIDATED.values(), ids=VALIDATED)
def test_data_that_a_schema_allows(schema: str, name: str, data: str) -> None:
    text = f'import "encoding/json"\n_t: json.Validate(#"{data}"#, {name})\nr: _t\n{schema}'
    assert '"r":true' in exported(text)


REFUSED = {
    "a field that a definition does not have": ("#D: {a: int}", "#D", '{"a": 1, "b": 2}'),
    "a field deep in a definition": ("#D: {a: {b: int}}", "#D", '{"a": {"c": 2}}'),
    "a field of a definition's part": ("#D: a: {b: int}", "#D.a", '{"c": 2}'),
    "a field of a definition that a field is": ("#D: {a: int}\nd: #D", "d", '{"b": 1}'),
    "an element's field": ("#D: [{a: int}]", "#D", '[{"b": 1}]'),
    "a closed struct's field": ("d: close({a: 1})", "d", '{"b": 1}'),
    "the default's field": ("#D: *{a: int} | {b: int}", "#D", '{"b": 1}'),
    "the field of a definition that is the default": (
        "#A: {a: int}\nd: *#A | {b: int}",
        "d",
        '{"b": 1}',
    ),
    "a value deep in it": ("#D: {a: {b: int}}", "#D", '{"a": {"b": "x"}}'),
    "an element of the default": ("#D: *[int] | {b: int}", "#D", '["x"]'),
}


@pytest.mark.parametrize(("schema", "name", "data"), REFUSED.values(), ids=REFUSED)
def test_data_that_a_schema_does_not_allow(schema: str, name: str, data: str) -> None:
    text = f'import "encoding/json"\nr: json.Validate(#"{data}"#, {name})\n_{schema}'
    text = text.replace("_#", "#").replace("_d", "d")
    assert "2:4: r: error in call to encoding/json.Validate: the values conflict" in refusal(text)


@pytest.mark.parametrize("schema", ["int", "_", "[...]", "[1, ...int]", '"a" | "b"'])
def test_a_schema_that_is_not_concrete_is_waited_for(schema: str) -> None:
    text = f'import "encoding/json"\n_v: json.Validate("1", {schema})\nr: 1'
    assert exported(text) == '{"r":1}'
    assert refusal(f"{text}\ns: _v")


def test_an_open_list_is_no_argument_of_any_kind() -> None:
    assert refusal('import "encoding/json"\na: json.Marshal([1, ...])') == [
        "2:17: a: non-concrete argument [1, ...] to encoding/json.Marshal"
    ]


@pytest.mark.parametrize(
    ("elements", "unique"),
    [
        ("int, int", False),
        ("int, string", True),
        (">5, >5", False),
        ("1, int", True),
        ("[int], [int]", False),
        ("{a: int}, {a: int}", False),
    ],
)
def test_elements_that_are_not_concrete_are_compared_as_text(elements: str, unique: bool) -> None:
    text = f'import "list"\na: list.UniqueItems([{elements}])'
    assert exported(text) == ('{"a":true}' if unique else '{"a":false}')


def test_elements_that_are_not_concrete_are_not_sorted() -> None:
    assert exported('import "list"\na: list.IsSorted([1, int], list.Ascending)') == '{"a":false}'


@pytest.mark.parametrize("other", ["x: 1", "[1]", "1", "{}"])
def test_a_bound_of_anything_is_not_known(other: str) -> None:
    (fault,) = refusal(f"_a: _\nb: >_a\nb: {other}")
    assert fault == "2:4: b: non-concrete value _ for bound >"
