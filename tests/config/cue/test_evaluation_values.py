"""Atoms, operators and lists: what expressions become."""

import pytest

from tests.config.cue.evaluating import exported, refusal

VALUES = {
    "a list is joined to another": ("a: [1] + [2, 3]", '{"a":[1,2,3]}'),
    "a list is repeated by an int": ("a: [1, 2] * 2", '{"a":[1,2,1,2]}'),
    "an int repeats a list": ("a: 2 * [1]", '{"a":[1,1]}'),
    "bytes are joined": ("a: 'x' + 'y'", '{"a":"eHk="}'),
    "bytes are repeated": ("a: 2 * 'x'", '{"a":"eHg="}'),
    "lists of equal elements are equal": ("a: [1, {b: 1}.b] == [1, 1]", '{"a":true}'),
    "lists of other elements are not": ("a: [1] == [2]", '{"a":false}'),
    "lists of other elements are unequal": ("a: [1] != [2]", '{"a":true}'),
    "equal lists are not unequal": ("a: [1] != [1]", '{"a":false}'),
    "lists of another length compare false, equal": ("a: [1] == [1, 2]", '{"a":false}'),
    "lists of another length compare false, unequal": ("a: [1] != [1, 2]", '{"a":false}'),
    "a struct is not null": ("a: {b: 1} != null", '{"a":true}'),
    "a list equals no null": ("a: [] == null", '{"a":false}'),
    "a value that is absent is bottom": ("b: {}\na: b.c == _|_", '{"b":{},"a":true}'),
    "bottom is compared from the left": ("a: _|_ != 1", '{"a":true}'),
    "a type is bottom when compared": ("_b: int\na: _b == _|_", '{"a":true}'),
    "a default is no bottom": ("b: *{c: 1} | 2\na: b != _|_", '{"b":{"c":1},"a":true}'),
    "a sum with a sign": ("a: +1 + -2", '{"a":-1}'),
    "not is not": ("a: !(1 == 1)", '{"a":false}'),
    "the right operand of or may be wrong": ('a: true || "x"', '{"a":true}'),
    "the right operand of and may be wrong": ("a: false && 1", '{"a":false}'),
    "both operands of and count": ("a: true && true", '{"a":true}'),
    "a part of a list": ("a: [1, 2, 3][1:2]", '{"a":[2]}'),
    "the beginning of a list": ("a: [1, 2, 3][:2]", '{"a":[1,2]}'),
    "the end of a list": ("a: [1, 2, 3][1:]", '{"a":[2,3]}'),
    "a part of bytes": ("a: 'abc'[1:]", '{"a":"YmM="}'),
    "bools and numbers are interpolated": (
        'a: "\\(true)\\(false)\\(1.50)"',
        '{"a":"truefalse1.50"}',
    ),
    "strings are interpolated into bytes": ("a: '\\(\"é\")\\('x')'", '{"a":"w6l4"}'),
    "a struct is an operand": ("a: {b: 1, c: 1 / 0}.b", '{"a":1}'),
    "a conjunction is an operand": ("a: ({b: 1} & {c: 2}).c", '{"a":2}'),
    "a disjunction is an operand": ("a: (*{b: 1} | {b: 2}).b", '{"a":1}'),
    "a list of open length ends where it does": ("a: [1, ...int]", '{"a":[1]}'),
    "an ellipsis types what is beyond": (
        "a: [_, ...{b: *1 | int}]\na: [{}, {}]",
        '{"a":[{},{"b":1}]}',
    ),
    "computed lists unify with literal ones": ("a: [1] + [2]\na: [_, int]", '{"a":[1,2]}'),
    "computed lists unify with each other": ("a: [1] * 2\na: [1] + [1]", '{"a":[1,1]}'),
    "computed structs unify": (
        'import "encoding/json"\na: json.Unmarshal("{\\"b\\": 1}") & {c: 2}',
        '{"a":{"b":1,"c":2}}',
    ),
    "a computed null": ('import "encoding/json"\na: json.Unmarshal("null")', '{"a":null}'),
    "a list beside definitions": ("a: {[1], #b: 2}\nc: a.#b", '{"a":[1],"c":2}'),
    "and joins a list's elements": ("a: and([>1, <3, int])", '{"a":2}'),
    "and of nothing is anything": ("a: and([]) & 1", '{"a":1}'),
    "or gives one of a list's elements": ("a: or([1, 2]) & 2", '{"a":2}'),
    "a closed struct may be closed again": ("a: close(close({b: 1}))", '{"a":{"b":1}}'),
    "a validator may be named without being called": (
        'import "encoding/json"\nimport "strings"\na: strings.MinRunes(1) & "x"',
        '{"a":"x"}',
    ),
    "the same validator twice": (
        'import "strings"\na: strings.MinRunes(1) & strings.MinRunes(1) & "x"',
        '{"a":"x"}',
    ),
    "two validators": (
        'import "strings"\na: strings.MinRunes(1) & strings.MaxRunes(2) & "x"',
        '{"a":"x"}',
    ),
    "values sort by a comparison of structs": (
        'import "list"\na: list.Sort([{v: 2}, {v: 1}], {x: {}, y: {}, less: x.v < y.v})',
        '{"a":[{"v":1},{"v":2}]}',
    ),
    "values sort by a comparer of the package": (
        'import "list"\n'
        "a: list.Sort([2, 1], list.Ascending)\nb: list.Sort([1, 2], list.Descending)",
        '{"a":[1,2],"b":[2,1]}',
    ),
    "what a function returns has its elements evaluated": (
        'import "list"\nb: 1\na: list.Concat([[b], [{c: b}]])',
        '{"b":1,"a":[1,{"c":1}]}',
    ),
    "a function hands on what is not concrete": (
        'import "list"\n_a: list.Concat([[int], [2]])\nb: len(_a)',
        '{"b":2}',
    ),
    "a constant of a package": ('import "math"\na: math.Pi > 3', '{"a":true}'),
}


@pytest.mark.parametrize(("text", "result"), VALUES.values(), ids=VALUES)
def test_a_value(text: str, result: str) -> None:
    assert exported(text) == result


WRONG = {
    "a list has no string index": ('a: [1]["0"]', ['1:8: a: invalid list index "0" (type string)']),
    "a struct has no int index": (
        "a: {b: 1}[0]",
        ["1:11: a: invalid struct selector 0 (type int); expected a string"],
    ),
    "an index is an int or a string": (
        "a: [1][true]",
        ["1:8: a: invalid index true (type bool); expected an int or a string"],
    ),
    "an index is not negative": (
        "a: [1][-1]",
        ["1:8: a: invalid index -1 (index must be non-negative)"],
    ),
    "an index is within the list": (
        "a: [1][1]",
        ["1:8: a: index out of range [1] with length 1"],
    ),
    "an index beyond an open list is not known": (
        "b: [1, ...]\na: b[1]",
        ["2:6: a: index out of range [1] with length 1"],
    ),
    "an index has to be known": (
        "_i: int\na: [1][_i]",
        ["2:8: a: non-concrete value int in operand to index"],
    ),
    "a slice is of a list": ("a: {}[1:]", ["1:4: a: cannot slice {} (type struct)"]),
    "a slice begins before it ends": ("a: [1][1:0]", ["1:4: a: invalid slice index: 1 > 0"]),
    "a slice ends in the list": ("a: [1][0:2]", ["1:4: a: index 2 out of range with length 1"]),
    "a slice's bounds are ints": (
        'a: [1]["x":]',
        ['1:8: a: invalid slice index "x"; expected an int of 0 or more'],
    ),
    "a slice's bounds have to be known": (
        "_i: int\na: [1][:_i]",
        ["2:9: a: non-concrete value int in operand to slice index"],
    ),
    "a slice's operand has to be known": (
        "_l: string\na: _l[0:]",
        ["2:4: a: non-concrete value string in operand to slice"],
    ),
    "what is negated has to be known": (
        "_n: int\na: -_n",
        ["2:5: a: non-concrete value int in operand to -"],
    ),
    "a list is not negated": ("a: -[1]", ["1:4: a: invalid operation -[1] (- list)"]),
    "a number is not inverted": ("a: !1", ["1:4: a: invalid operation !1 (! int)"]),
    "null is not interpolated": (
        'a: "\\(null)"',
        [
            "1:7: a: invalid interpolation: cannot use null (type null) as type"
            " (bool|string|bytes|number)"
        ],
    ),
    "what is interpolated has to be known": (
        '_n: int\na: "\\(_n)"',
        ["2:7: a: non-concrete value int in operand to interpolation"],
    ),
    "a list is not interpolated": (
        'a: "\\([1])"',
        [
            "1:7: a: invalid interpolation: cannot use [1] (type list) as type"
            " (bool|string|bytes|number)"
        ],
    ),
    "lists are not added to numbers": (
        "a: [1] + 1",
        ["1:4: a: invalid operands [1] and 1 to '+' (type list and int)"],
    ),
    "strings are not divided": (
        'a: "x" / 2',
        ["1:4: a: invalid operands \"x\" and 2 to '/' (type string and int)"],
    ),
    "strings are not multiplied by floats": (
        'a: "x" * 2.0',
        ["1:4: a: invalid operands \"x\" and 2.0 to '*' (type string and float)"],
    ),
    "strings are not repeated less than never": (
        'a: "x" * -1',
        ["1:4: a: failed arithmetic: negative count -1; it must be 0 or more"],
    ),
    "nothing is divided by zero": ("a: 1 / 0", ["1:4: a: failed arithmetic: division by zero"]),
    "structs are not compared": (
        "a: {} == {}",
        ["1:4: a: invalid operands {} and {} to '==' (type struct and struct)"],
    ),
    "numbers are not matched": (
        'a: 1 =~ "x"',
        ["1:4: a: invalid operands 1 and \"x\" to '=~' (type int and string)"],
    ),
    "a regular expression is one": (
        'a: "x" =~ "("',
        ["1:4: a: invalid regular expression '(': missing ): ("],
    ),
    "the left operand of or is a bool": (
        "a: 1 || true",
        ["1:4: a: cannot use 1 (type int) as type bool in ||"],
    ),
    "the right operand of or counts if it matters": (
        "a: false || 1",
        ["1:4: a: cannot use 1 (type int) as type bool in ||"],
    ),
    "what is added to bottom is bottom": (
        "a: 1 + b\nb: 1 & 2",
        ["2:8: b: conflicting values 1 and 2"],
    ),
    "lists of one length only": (
        "a: [1, 2]\na: [1]",
        ["2:4: a: incompatible list lengths (2 and 1)"],
    ),
    "a longer list": ("a: [1]\na: [1, 2]", ["2:4: a: incompatible list lengths (1 and 2)"]),
    "a computed list of another length": (
        "a: [1] * 2\na: [1] * 3",
        ["1:4: a: incompatible list lengths (2 and 3)"],
    ),
    "a list with fields": (
        "a: [1]\na: b: 2",
        ["2:4: a: conflicting values [1] and {b: 2} (mismatched types list and struct)"],
    ),
    "a comprehension in a list that cannot be evaluated yet": (
        "_n: bool\na: [if _n {1}]",
        ["2:8: a: non-concrete value bool in operand to if"],
    ),
    "bottom": ("a: _|_", ["1:4: a: explicit error (_|_ literal) in source"]),
    "a function is not called": (
        "a: len",
        ["1:4: a: len is no data; a function has to be called"],
    ),
    "a package is no data": (
        'import "strings"\na: strings',
        ['2:4: a: package "strings" is no data; a function has to be called'],
    ),
    "what is no function is not called": (
        "b: 1\na: b(2)",
        ["2:4: a: cannot call non-function b (type int)"],
    ),
    "a function that is wrong is not called": (
        "b: 1 & 2\na: b(2)",
        ["1:8: b: conflicting values 1 and 2"],
    ),
    "too many arguments": (
        "a: len([], 1)",
        ["1:4: a: too many arguments in call to len (have 2, want 1)"],
    ),
    "a range as an operand": (
        "_a: uint + 1",
        ["1:5: _a: invalid operand uint ('+' requires concrete value)"],
    ),
    "not enough arguments": (
        "a: close()",
        ["1:4: a: not enough arguments in call to close (have 0, want 1)"],
    ),
    "an argument of another kind": (
        "a: close(1)",
        ["1:10: a: cannot use 1 (type int) as struct in argument 1 to close"],
    ),
    "an argument that is not known": (
        "_b: _\na: close(_b)",
        ["2:4: a: non-concrete argument _ to close"],
    ),
    "or of nothing": ("a: or([])", ["1:4: a: empty list in call to or"]),
    "an element that is not known": (
        'import "list"\n_b: int\na: list.Sum([1, _b])',
        ["3:17: a: non-concrete value int"],
    ),
    "an element that is wrong": (
        'import "list"\na: list.Sum([1, 1 & 2])',
        ["2:21: a: conflicting values 1 and 2"],
    ),
    "a comparison that conflicts": (
        'import "list"\na: list.Sort([1, 2], {x: string, y: string, less: x < y})',
        ["2:4: a: error in call to list.Sort: the values conflict"],
    ),
    "a member that a package does not have": (
        'import "strings"\na: strings.ToUper("x")',
        [
            '2:12: a: undefined field: ToUper (no such member of package "strings");'
            ' did you mean "ToUpper"?'
        ],
    ),
    "a value that a validator refuses": (
        'import "strings"\na: strings.MinRunes(2) & "x"',
        ['2:26: a: invalid value "x" (does not satisfy strings.MinRunes(2))'],
    ),
}


@pytest.mark.parametrize(("text", "faults"), WRONG.values(), ids=WRONG)
def test_a_wrong_value(text: str, faults: list[str]) -> None:
    assert refusal(text) == faults


def test_texts_in_messages_are_on_one_line() -> None:
    assert refusal('a: "\\"\\\\\\n\\t\\r\\u0001" & 1') == [
        r'1:25: a: conflicting values "\"\\\n\t\r\u0001" and 1 (mismatched types string and int)'
    ]


def test_bytes_in_messages_are_readable() -> None:
    assert refusal("a: 'x\\'\\\\\\x00' & 1") == [
        r"1:18: a: conflicting values 'x\'\\\x00' and 1 (mismatched types bytes and int)"
    ]


def test_long_values_in_messages_are_cut() -> None:
    (fault,) = refusal(f'a: "{"x" * 500}" & 1')
    assert len(fault) < 250


def test_deep_values_in_messages_are_cut() -> None:
    (fault,) = refusal("a: {b: c: d: e: f: g: 1}\na: 1")
    assert fault == (
        "2:4: a: conflicting values {b: {c: {d: {e: {…}}}}} and 1 (mismatched types struct and int)"
    )


def test_wide_values_in_messages_are_cut() -> None:
    (fault,) = refusal("a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\na: 1")
    assert "[1, 2, 3, 4, 5, 6, 7, 8, …]" in fault


def test_labels_in_messages_are_quoted_where_they_must_be() -> None:
    (fault,) = refusal('a: {"b c": 1, "#d": 2, #e: 3}\na: 1')
    assert '{"b c": 1, "#d": 2, #e: 3}' in fault


def test_only_some_reasons_of_many_are_told() -> None:
    (fault,) = refusal(f"a: ({' | '.join(map(str, range(15)))}) & 20")
    assert fault.splitlines()[0].endswith("none of 15 alternatives fits:")
    assert fault.splitlines()[-1] == "  and 5 more"


def test_only_some_values_of_many_are_told() -> None:
    (fault,) = refusal(f"a: {' | '.join(map(str, range(15)))}")
    assert fault.endswith("0, 1, 2, 3, 4, 5, 6, 7, 8, 9 or 5 more")
