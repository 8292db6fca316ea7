"""Values that refer to themselves: those that have an end, and those without."""

import json
from itertools import permutations
from typing import Any

import pytest

from tests.config.cue.evaluating import exported, refusal

CYCLES = {
    "references in a circle, one with a value": ("a: b\nb: c\nc: a\nb: 1", '{"a":1,"b":1,"c":1}'),
    "arithmetic in a circle": ("a: b + 1\nb: a - 1\na: 2", '{"a":2,"b":1}'),
    "bounds in a circle": ("a: <b\nb: >a\na: 1\nb: 2", '{"a":1,"b":2}'),
    "a struct that refers to its own fields": ("a: {b: a.c, c: 1}", '{"a":{"b":1,"c":1}}'),
    "a list that refers to its own elements": ("a: [1, a[0] + 1]", '{"a":[1,2]}'),
    "a recursive definition with a default": (
        "#L: {v: int | *0, next: *null | #L}\na: #L & {next: {v: 1}}",
        '{"a":{"v":0,"next":{"v":1,"next":null}}}',
    ),
    "a recursive definition by an optional field": (
        "#L: {next?: #L}\na: #L & {next: next: {}}",
        '{"a":{"next":{"next":{}}}}',
    ),
    "a recursive definition by a list": (
        "#T: {kids: [...#T]}\na: #T & {kids: [{}, {kids: [{}]}]}",
        '{"a":{"kids":[{"kids":[]},{"kids":[{"kids":[]}]}]}}',
    ),
    "a recursive pattern": (
        '#D: [string]: #D | string\na: #D & {b: "x", c: d: "y"}',
        '{"a":{"b":"x","c":{"d":"y"}}}',
    ),
    "a disjunct that contains the value": ("b: c | 1\nc: [b]", '{"b":1,"c":[1]}'),
    "a disjunct that contains the value, asked for its length": (
        "a: len(b)\nb: {x: null | b}",
        '{"a":1,"b":{"x":null}}',
    ),
    "a length that is an element": ("a: len(b)\nb: [1, a]", '{"a":2,"b":[1,2]}'),
    "a value that agrees with what it says of itself": ("a: (a & 1) + 0", '{"a":1}'),
    "a text that agrees with what it says of itself": (
        'import "strings"\na: strings.ToUpper(a & "B")',
        '{"a":"B"}',
    ),
    "an alternative that needs itself beside a default": ("a: *1 | (a + 0)", '{"a":1}'),
    "a hidden default that is the value itself": ("_a: *_a | null\nb: _a", '{"b":null}'),
    "a definition that is itself or a struct": ("#a: #a | {x: 1}\nb: #a", '{"b":{"x":1}}'),
    "defaults that are each other": (
        "_a: *_b | 1\n_b: *_a | 2\nc: _a\nd: _b",
        '{"c":2,"d":1}',
    ),
    "a hidden product of itself, which nothing asks for": ("_a: (<3 & _a) * 2\nb: 1", '{"b":1}'),
    "a condition on a sibling": ("a: {if a.x > 0 {y: 1}, x: 1}", '{"a":{"x":1,"y":1}}'),
    "a loop in a field over the struct around it": (
        "a: {x: {for k, v in a {(k): 1}}}",
        '{"a":{"x":{"x":1}}}',
    ),
}


@pytest.mark.parametrize(("text", "result"), CYCLES.values(), ids=CYCLES)
def test_a_cycle_that_has_a_value(text: str, result: str) -> None:
    assert exported(text) == result


ENDLESS = {
    "a struct in itself": (
        "a: b: a",
        ["1:7: a.b: structural cycle: the value contains itself, without end"],
    ),
    "a list in itself": (
        "a: [a]",
        ["1:5: a[0]: structural cycle: the value contains itself, without end"],
    ),
    "structs in each other": (
        "a: x: b\nb: y: a",
        [
            "1:7: b.y.x: structural cycle: the value contains itself, without end",
            "2:7: a.x.y: structural cycle: the value contains itself, without end",
        ],
    ),
    "a let in itself, through another": (
        "let x = {a: y}\nlet y = {b: x}\nc: x",
        ["2:13: c.a.b: structural cycle: the value contains itself, without end"],
    ),
    "a sum with itself": ("a: a + 1", ["1:4: a: cycle error: the value refers to itself"]),
    "a loop over the struct that it is in": (
        'a: {b: 1, for k, v in a if k == "b" {c: v}}',
        ["1:23: a: cycle error: the value refers to itself"],
    ),
    "a loop over the list that it is in": (
        "a: [for v in a {v}]",
        ["1:14: a: cycle error: the value refers to itself"],
    ),
    "loops over each other": (
        "a: {for k, v in b {(k): v}}\nb: {for k, v in a {(k): v}}",
        ["2:17: a: cycle error: the value refers to itself"],
    ),
    "a loop over a struct that embeds its own": (
        "a: {for k, v in {a} {y: 1}}",
        ["1:17: a: structural cycle: the value contains itself, without end"],
    ),
    "a loop over its own struct with another": (
        "a: {for k, v in a & {z: 1} {y: 1}}",
        ["1:17: a: structural cycle: the value contains itself, without end"],
    ),
    "a field that a clause did not find": (
        "a: {if a.y == _|_ {y: 1}}",
        ["1:23: a: cycle: new field y is inserted by a clause that evaluated it before"],
    ),
    "the length of a list with itself": (
        "a: len([a])",
        ["1:9: a: structural cycle: the value contains itself, without end"],
    ),
    "a value that does not agree with what it says of itself": (
        "a: (a & 1) + 1",
        ["1:9: a: conflicting values 2 and 1"],
    ),
    "a default that nothing resolves": (
        'b: {int | *_a}\n_a: "\\(_a)"',
        ["2:8: b: cycle error: the value refers to itself"],
    ),
    "an alternative that needs itself": (
        "a: 1 | (a + 0)",
        ["1:4: a: incomplete value: 2 values are possible: 1 or _|_"],
    ),
    "a definition that is never used": (
        "#L: next: #L",
        ["1:11: #L.next: structural cycle: the value contains itself, without end"],
    ),
}


@pytest.mark.parametrize(("text", "faults"), ENDLESS.values(), ids=ENDLESS)
def test_a_cycle_without_end(text: str, faults: list[str]) -> None:
    assert refusal(text) == faults


SEVERAL_CLAUSES = {
    "a clause that asks for what another inserts": (
        ("a: {if b.k == 1 {x: 1}}", "b: {k: 1, if a.x == _|_ {y: 1}}"),
        {"a": {"x": 1}, "b": {"k": 1}},
    ),
    "a clause that asks for what another does not insert": (
        ("a: {if b.k == 2 {x: 1}}", "b: {k: 1, if a.x == _|_ {y: 1}}"),
        {"a": {}, "b": {"k": 1, "y": 1}},
    ),
    "clauses that each insert only what the other has": (
        ("a: {if b.y != _|_ {x: 1}}", "b: {if a.x != _|_ {y: 1}}"),
        {"a": {}, "b": {}},
    ),
    "clauses one of which has its field": (
        ("a: {if b.y != _|_ {x: 1}}", "b: {if a.x != _|_ {y: 1}}", "a: x: 1"),
        {"a": {"x": 1}, "b": {"y": 1}},
    ),
    "clauses that each insert only what the other lacks": (
        ("a: {if b.y == _|_ {x: 1}}", "b: {if a.x == _|_ {y: 1}}"),
        None,
    ),
    "clauses that contradict each other": (
        ("a: {if b.y != _|_ {x: 1}}", "b: {if a.x == _|_ {y: 1}}"),
        None,
    ),
}


@pytest.mark.parametrize(("lines", "value"), SEVERAL_CLAUSES.values(), ids=SEVERAL_CLAUSES)
def test_clauses_that_ask_for_each_others_fields_have_no_order(
    lines: tuple[str, ...], value: Any
) -> None:
    for order in permutations(lines):
        text = "\n".join(order)
        if value is None:
            assert any("cycle" in fault for fault in refusal(text))
        else:
            assert json.loads(exported(text)) == value
