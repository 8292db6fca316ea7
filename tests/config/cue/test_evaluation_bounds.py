"""Types and bounds: how they combine, and when disjuncts are the same."""

import decimal

import pytest

from connect.config.cue import Source, compile_document
from tests.config.cue.evaluating import exported, refusal


def text(document: str) -> str:
    """Return the hidden field `_a` of a document as CUE."""
    value = compile_document(Source("x", document)).lookup("_a")
    assert value is not None
    return value.text()


COMBINED = {
    "the tighter of two lower bounds": ("_a: >1 & >2", ">2"),
    "the tighter of two upper bounds": ("_a: <=2 & <3", "<=2"),
    "the stricter of two equal bounds": ("_a: >=2 & >2", ">2"),
    "a range of one int": ("_a: int & >=1 & <2", "1"),
    "a range of one int from below": ("_a: int & >1 & <=2", "2"),
    "a range of one int between": ("_a: int & >1 & <3", "2"),
    "a range of one number": ("_a: >=1.5 & <=1.5", "1.5"),
    "a range of ints is rounded inwards": ("_a: int & >=1.5 & <=2.5", "2"),
    "a range of more": ("_a: int & >1 & <5", ">1 & <5 & int"),
    "a range of strings": ('_a: >"a" & <"b"', '>"a" & <"b"'),
    "a range before its type": ("_a: >=1 & <=1 & int", "1"),
    "what a range excludes need not be said": ("_a: >3 & !=2", ">3"),
    "what a range includes has to be said": ("_a: >3 & !=5", ">3 & !=5"),
    "an upper bound excludes": ("_a: <3 & !=5", "<3"),
    "the same exclusion twice": ("_a: !=2 & !=2", "!=2"),
    "two exclusions": ("_a: !=2 & !=3", "!=2 & !=3"),
    "a pattern and an exclusion": ('_a: =~"^a" & !="b"', '=~"^a" & !="b"'),
    "a type and a wider one": ("_a: number & int", "int"),
    "a bound of a type is the type": ("_b: int\n_a: <_b", "int"),
    "less than what is less": ("_b: <3\n_a: <_b", "<3"),
    "less than what is less or equal": ("_b: <=3\n_a: <_b", "<3"),
    "less or equal than what is less": ("_b: <3\n_a: <=_b", "<3"),
    "less than what is more": ("_b: >3\n_a: <_b", "number"),
    "less than what is not": ("_b: !=3\n_a: <_b", "number"),
    "not what is not": ("_b: !=3\n_a: !=_b", "3"),
    "not what is less": ("_b: <3\n_a: !=_b", ">=3"),
    "not what is more or equal": ("_b: >=3\n_a: !=_b", "<3"),
    "null is no bound but an exclusion": ("_a: !=null", "!=null"),
    "bytes are bounded": ("_a: >'a' & 'b'", "'b'"),
    "a validator": ('import "strings"\n_a: strings.MinRunes(2)', "strings.MinRunes(2)"),
    "a type and a validator": (
        'import "strings"\n_a: string & strings.MinRunes(2)',
        "strings.MinRunes(2)",
    ),
    "anything": ("_a: _", "_"),
    "the same types": ("_a: {b: int} | {b: int}", "{b: int}"),
    "other types": ("_a: {b: int} | {b: string}", "{b: int} | {b: string}"),
    "the same bounds": ("_a: {b: >1} | {b: >1.0}", "{b: >1}"),
    "other bounds": ("_a: {b: >1} | {b: <1}", "{b: >1} | {b: <1}"),
    "the same conjunctions": ("_a: {b: >1 & int} | {b: >1 & int}", "{b: >1 & int}"),
    "other conjunctions": ("_a: {b: >1 & int} | {b: >2 & int}", "{b: >1 & int} | {b: >2 & int}"),
    "longer conjunctions": (
        "_a: {b: >1 & int} | {b: >1 & <5 & int}",
        "{b: >1 & int} | {b: >1 & <5 & int}",
    ),
    "the same disjunctions": ("_a: {b: 1 | 2} | {b: 1 | 2}", "{b: 1 | 2}"),
    "other disjunctions": ("_a: {b: 1 | 2} | {b: 1 | 3}", "{b: 1 | 2} | {b: 1 | 3}"),
    "longer disjunctions": ("_a: {b: 1 | 2} | {b: 1 | 2 | 3}", "{b: 1 | 2} | {b: 1 | 2 | 3}"),
    "other fields": ("_a: {b: 1} | {c: 1}", "{b: 1} | {c: 1}"),
    "other optional fields": ("_a: {b: 1} | {b: 1, c?: 1}", "{b: 1} | {b: 1}"),
    "a closed struct and an open one": ("_a: close({b: 1}) | {b: 1}", "{b: 1} | {b: 1}"),
    "validators are not compared": (
        'import "strings"\n_a: {b: strings.MinRunes(1) & !="a"} | {b: strings.MinRunes(1) & !="a"}',
        '{b: strings.MinRunes(1) & !="a"} | {b: strings.MinRunes(1) & !="a"}',
    ),
    "what waits is kept apart": (
        "_c: {}\n_a: {b: _c.d} | {b: _c.d}",
        "{b: _|_}",
    ),
}


@pytest.mark.parametrize(("document", "result"), COMBINED.values(), ids=COMBINED)
def test_constraints_combine(document: str, result: str) -> None:
    assert text(document) == result


WRONG = {
    "bounds that exclude each other": (
        "a: >3 & <2",
        ["1:4: a: incompatible bounds >3 and <2"],
    ),
    "bounds that touch": ("a: >2 & <=2", ["1:4: a: incompatible bounds >2 and <=2"]),
    "a value out of bound": ("a: <2 & 3", ["1:9: a: invalid value 3 (out of bound <2)"]),
    "a value that is excluded": ("a: !=3 & 3", ["1:10: a: invalid value 3 (out of bound !=3)"]),
    "a value that does not match": (
        'a: =~"^b" & "a"',
        ['1:13: a: invalid value "a" (out of bound =~"^b")'],
    ),
    "a bound by a bad pattern": (
        'a: =~"(" & "a"',
        ["1:4: a: invalid regular expression '(': missing ): ("],
    ),
    "a bound of another type": (
        'a: >3 & "a"',
        ['1:9: a: conflicting values >3 and "a" (mismatched types number and string)'],
    ),
    "a bound by a struct": ("a: <{}", ["1:5: a: invalid value {} (type struct) for bound <"]),
    "a bound by null": ("a: <null", ["1:5: a: invalid value null (type null) for bound <"]),
    "a bound by what is not known": (
        '_b: string\na: =~_b & "x"',
        ["2:4: a: non-concrete value string for bound =~"],
    ),
    "a bound by what is wrong": ("b: 1 & 2\na: <b", ["1:8: b: conflicting values 1 and 2"]),
    "a range of ints that is empty": (
        "a: int & >2 & <3",
        ["1:4: a: incomplete value >2 & <3 & int: expected a concrete value"],
    ),
    "types that have nothing in common": (
        "a: int & string",
        ["1:10: a: conflicting values int and string (mismatched types int and string)"],
    ),
    "an equal int and float": (
        "a: 1 & 1.0",
        ["1:8: a: conflicting values 1 and 1.0 (mismatched types int and float)"],
    ),
}


@pytest.mark.parametrize(("document", "faults"), WRONG.values(), ids=WRONG)
def test_constraints_conflict(document: str, faults: list[str]) -> None:
    assert refusal(document) == faults


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(a)\\1", r"invalid escape sequence: \1"),
        ("a(?=b)", "invalid perl operator: (?="),
        ("a(?!b)", "invalid perl operator: (?!"),
        ("(?<=a)b", "(?< is not supported; a named group is written (?P<name>…)"),
    ],
)
@pytest.mark.parametrize("document", ['a: "ab" =~ "{}"', 'a: "ab" & =~"{}"', 'a: "ab" & !~"{}"'])
def test_backreferences_and_looking_around_are_refused(
    pattern: str, reason: str, document: str
) -> None:
    [fault] = refusal(document.format(pattern))
    assert "invalid regular expression" in fault
    assert fault.endswith(reason)


def test_a_pattern_that_backtracking_never_ends_with_is_matched_in_linear_time() -> None:
    assert exported('a: ("a" * 200000 + "!") =~ "^(a+)+$"') == '{"a":false}'


def test_so_is_a_bound() -> None:
    assert refusal('_a: "a" * 200000 + "!", a: _a & !~"^(a+)+$"') == []


def test_no_decimal_context_of_the_caller_matters() -> None:
    coarse = decimal.Context(prec=1, Emin=-1, Emax=1)
    with decimal.localcontext(coarse):
        (told,) = refusal("a: >=1.001 & <=1.002")
    assert told.startswith("1:4: a: incomplete value >=1.001 & <=1.002")
