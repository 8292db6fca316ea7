"""Documents that would take for ever are refused soon, with the place."""

import time
from collections.abc import Callable

import pytest

from connect.config.cue import Budget, CueError, Fault, FaultKind, Source, compile_document
from tests.config.cue.evaluating import exported, refusal

SECONDS = 20
"""More than a refusal may take on a machine that is busy; it takes one or two."""


def faults(text: str, **limits: int) -> tuple[Fault, ...]:
    started = time.process_time()
    try:
        found = compile_document(Source("x", text), budget=Budget(**limits)).faults()
    except CueError as error:
        found = error.faults
    assert time.process_time() - started < SECONDS
    return found


def lines(count: int, line: Callable[[int], str]) -> str:
    return "\n".join(line(index) for index in range(count))


HOSTILE = {
    "a megabyte of nested lists": "a: " + "[" * 500_000 + "]" * 500_000,
    "a megabyte of nested structs": "a: " * 350_000 + "1",
    "thirty disjunctions of structs": "a: "
    + " & ".join(f"({{b{index}: 1}} | {{b{index}: 2}})" for index in range(30)),
    "a disjunction of thousands": "a: " + " | ".join(map(str, range(2_000))),
    "references that wait for each other": lines(
        10_000, lambda index: f"a{index}: a{index + 1} + 1"
    )
    + "\na10000: 1",
    "references to references": lines(10_000, lambda index: f"a{index}: a{index + 1}")
    + "\na10000: 1",
    "lets of lets": lines(3_000, lambda index: f"let a{index} = a{index + 1}")
    + "\nlet a3000 = 1\nb: a0",
    "a billion laughs": 'a0: "lol"\n'
    + lines(10, lambda index: f"a{index + 1}: [{', '.join([f'a{index}'] * 10)}]"),
    "a billion laughs in structs": lines(
        40, lambda index: f"let a{index} = {{x: a{index + 1}, y: a{index + 1}}}"
    )
    + "\nlet a40 = 1\nb: a0",
    "a string that doubles": 'a0: "lol"\n'
    + lines(40, lambda index: f"a{index + 1}: a{index} + a{index}"),
    "an interpolation that doubles": 'a0: "lol"\n'
    + lines(40, lambda index: f'a{index + 1}: "\\(a{index})\\(a{index})"'),
    "loops in loops": f"_l: {list(range(40))}\n"
    "a: [for a in _l for b in _l for c in _l for d in _l {a}]",
    "a long list": "a: [1] * 1_000_000_000",
    "a long string": 'a: "x" * 1_000_000_000',
    "a long range": 'import "list"\na: list.Range(0, 1_000_000_000, 1)',
    "a long repetition": 'import "strings"\na: strings.Repeat("x", 1_000_000_000)',
    "a chain of closed structs": lines(240, lambda index: f"#a{index}: {{b: #a{index + 1}}}")
    + "\n#a240: {b: 1}\nb: #a0",
    "a list that contains itself by a sum": "a: [b]\nb: a * 1",
    "a struct that unfolds": "#A: {n: int, next: #B & {m: n + 1}}\n"
    "#B: {m: int, next: #A & {n: m + 1}}\n"
    "a: #A & {n: 1, next: next: next: next: {}}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_is_refused(text: str) -> None:
    kinds = {fault.kind for fault in faults(text)}
    assert kinds
    assert kinds <= {FaultKind.BUDGET, FaultKind.CYCLE, FaultKind.INCOMPLETE}


def test_what_is_refused_for_its_steps_has_a_place() -> None:
    (fault,) = faults("a: [1, 2, 3]\nb: [4, 5, 6]", steps=0)
    assert str(fault.spans[0]).startswith("x:")
    assert fault.message.startswith("the evaluation takes more than the ")


def test_what_is_refused_for_its_depth_has_path_and_place() -> None:
    (fault,) = faults("a: b: c: d: e: 1", depth=3)
    assert fault.path == ("a", "b", "c", "d")
    assert fault.message == ("values or references are nested deeper than the 3 levels allowed")


def test_what_is_refused_for_its_size_says_the_limit() -> None:
    (fault,) = faults('a: "x" * 11', size=10)
    assert (fault.path, fault.message) == (
        ("a",),
        "the result would have more than the 10 characters allowed",
    )


def test_a_list_is_refused_for_its_size() -> None:
    (fault,) = faults("a: [for x in [1, 2, 3] for y in [1, 2, 3] {x}]", size=5)
    assert fault.message == "a list has more than the 5 elements allowed"


def test_an_interpolation_is_refused_for_its_size() -> None:
    (fault,) = faults('a: "xxxxxx"\nb: "\\(a)\\(a)"', size=10)
    assert fault.message == "a string has more than the 10 characters allowed"


def test_a_document_of_many_fields_is_no_attack() -> None:
    text = '{"a": [' + ", ".join('{"b": 1, "c": "x"}' for _ in range(20_000)) + "]}"
    assert faults(text) == ()


@pytest.mark.parametrize(
    ("operator", "operand", "result"),
    [
        (" + ", "1", "9000"),
        (" & ", "1", "1"),
        (" && ", "true", "true"),
        (" | ", '"x"', '"x"'),
    ],
)
def test_a_chain_of_operators_is_no_nesting(operator: str, operand: str, result: str) -> None:
    assert exported(f"a: {operator.join([operand] * 9000)}") == f'{{"a":{result}}}'


def test_a_chain_may_compare_with_bottom() -> None:
    assert exported("a: b == _|_ && 1 + 1 == 2 && true\nb?: 1") == '{"a":true}'


def test_a_failure_in_a_chain_is_that_of_all() -> None:
    assert refusal('a: 1 + "x" + 1') == [
        "1:4: a: invalid operands 1 and \"x\" to '+' (type int and string)"
    ]


def test_many_alternatives_are_no_attack() -> None:
    alternatives = " | ".join(f'"x{number}"' for number in range(5000))
    assert exported(f'a: *"x7" | {alternatives}') == '{"a":"x7"}'


def test_many_conjuncts_with_a_field_each_are_no_attack() -> None:
    text = "\n".join(f"a: x{number}: 1" for number in range(20_000))
    assert exported(text).count("x") == 20_000


def test_references_of_some_depth_are_no_attack() -> None:
    text = lines(100, lambda index: f"a{index}: a{index + 1} + 1") + "\na100: 1"
    assert faults(text) == ()


def test_nesting_of_some_depth_is_no_attack() -> None:
    assert faults("a: " + "[" * 150 + "]" * 150) == ()
