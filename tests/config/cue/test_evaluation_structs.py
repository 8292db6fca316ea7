"""Structs: fields, references, aliases, patterns, comprehensions, closedness."""

import pytest

from tests.config.cue.evaluating import exported, refusal

VALUES = {
    "fields of one name are unified": ("a: {b: 1}\na: {c: 2}", '{"a":{"b":1,"c":2}}'),
    "an optional field is not made up": ("a?: 1", "{}"),
    "an optional field constrains one that is there": ("a?: int | *2\na: int", '{"a":2}'),
    "an optional field of an optional struct": ("a?: b?: 1\na: {}", '{"a":{}}'),
    "an alias of a label": ("X=a: {b: 1}\nc: X.b", '{"a":{"b":1},"c":1}'),
    "an alias of a quoted label": ('X="a-b": 1\nc: X', '{"a-b":1,"c":1}'),
    "an alias of a definition": ("X=#A: {b: 1}\nc: X", '{"c":{"b":1}}'),
    "an alias of a computed label": ('X=(k): 1\nk: "a"\nb: X', '{"k":"a","b":1,"a":1}'),
    "an alias of a value": ("a: X={b: 1, c: X.b}", '{"a":{"b":1,"c":1}}'),
    "an alias of a value that is no literal": (
        "a: X=(b & {c: d: X.e})\nb: {e: 1}",
        '{"a":{"e":1,"c":{"d":1}},"b":{"e":1}}',
    ),
    "an alias of a value below a pattern": (
        "a: [string]: X={b: 1, c: X.b}\na: d: {}",
        '{"a":{"d":{"b":1,"c":1}}}',
    ),
    "an alias of what a pattern constrains": (
        "X=[string]: {b: 1, c: X.b}\nd: {}",
        '{"d":{"b":1,"c":1}}',
    ),
    "the name of a label that matches": (
        "a: [N=string]: {b: N}\na: c: {}",
        '{"a":{"c":{"b":"c"}}}',
    ),
    "a let in a struct": ("a: {let x = b, b: 1, c: x}", '{"a":{"b":1,"c":1}}'),
    "a let that hides another": ("let x = 1\na: {let x = 2, b: x}\nc: x", '{"a":{"b":2},"c":1}'),
    "a let that refers to others": (
        "let x = {a: y.b}\nlet y = {b: 1, c: x.a}\nd: y",
        '{"d":{"b":1,"c":1}}',
    ),
    "a let is a template": (
        "let x = {a: int}\nb: x & {a: 1}\nc: x & {a: 2}",
        '{"b":{"a":1},"c":{"a":2}}',
    ),
    "a field hides a builtin function": ("len: 1\na: len", '{"len":1,"a":1}'),
    "a field hides an import in its struct": (
        'import "strings"\na: {strings: 1, b: strings}',
        '{"a":{"strings":1,"b":1}}',
    ),
    "a hidden field is not exported": ("_a: 1\nb: _a", '{"b":1}'),
    "a definition is selected": ("a: #b: 1\nc: a.#b", '{"a":{},"c":1}'),
    "a quoted label is no definition": ('a: "#b": 1\nc: a."#b"', '{"a":{"#b":1},"c":1}'),
    "a field of a default": ("a: *{b: 1} | {b: 2}\nc: a.b", '{"a":{"b":1},"c":1}'),
    "what is wrong with a disjunct is dropped": ("a: {b: 1}\nc: a.d | 2", '{"a":{"b":1},"c":2}'),
    "a computed label": ('a: {(b): 1, b: "c"}', '{"a":{"b":"c","c":1}}'),
    "an interpolated label": ('a: "x\\(b)": 1\nb: 2', '{"a":{"x2":1},"b":2}'),
    "a computed label merges with a written one": ('a: {b: int, ("b"): 1}', '{"a":{"b":1}}'),
    "an if clause that holds": ("a: 1\nif a == 1 {b: 2}", '{"a":1,"b":2}'),
    "a clause that yields nothing leaves a struct": ("a: {if false {b: 1}}", '{"a":{}}'),
    "a clause may yield an atom": ("a: {if true {1}}", '{"a":1}'),
    "a loop over fields": (
        'a: {for k, v in {x: 1, y: 2} {"\\(k)z": v}}',
        '{"a":{"xz":1,"yz":2}}',
    ),
    "a loop over elements without their numbers": ("a: [for v in [1, 2] {v}]", '{"a":[1,2]}'),
    "a loop passes over hidden fields": ("a: [for v in {_x: 1, y: 2} {v}]", '{"a":[2]}'),
    "a loop in a loop": (
        "a: [for x in [1, 2] for y in [3] if x < 2 let z = x + y {z}]",
        '{"a":[4]}',
    ),
    "a loop over what a loop makes": (
        'a: {for v in ["x"] {(v): 1}}\nb: [for k, _ in a {k}]',
        '{"a":{"x":1},"b":["x"]}',
    ),
    "a loop over a struct that needs another one of this": (
        "b: {(a.z), x: 1}\na: {for k, v in b {(k): 1}, z: y: 1}",
        '{"b":{"y":1,"x":1},"a":{"z":{"y":1},"y":1,"x":1}}',
    ),
    "clauses wait for each other": (
        "a: {if b.x == 1 {y: 1}}\nb: {x: 1, if a.y == 1 {z: 1}}",
        '{"a":{"y":1},"b":{"x":1,"z":1}}',
    ),
    "a clause before what it needs": (
        "if a.b {c: 1}\na: {b: d}\nd: true",
        '{"a":{"b":true},"d":true,"c":1}',
    ),
    "a clause over what is absent": ("a?: 1\nif a == _|_ {b: 1}", '{"b":1}'),
    "a pattern of any label": ("a: [_]: int\na: b: 1", '{"a":{"b":1}}'),
    "a pattern of one label": ('a: ["b"]: int\na: {b: 1, c: "x"}', '{"a":{"b":1,"c":"x"}}'),
    "a pattern of several labels": (
        'a: ["b" | "c"]: int\na: {c: 1, d: "x"}',
        '{"a":{"c":1,"d":"x"}}',
    ),
    "a pattern of labels that match two": (
        'a: [=~"^x" & !="xy"]: 1\na: {xz: int, xy: 2}',
        '{"a":{"xz":1,"xy":2}}',
    ),
    "a pattern of numbers matches nothing": ("a: [int]: 1\na: b: 2", '{"a":{"b":2}}'),
    "a pattern that is wrong matches nothing": ("a: [1 & 2]: 1\na: b: 2", '{"a":{"b":2}}'),
    "a pattern that comes after the field was used": (
        "a: {b: {}, c: b.d, if b.e == _|_ {[string]: {d: 1} | 1}}",
        '{"a":{"b":{"d":1},"c":1}}',
    ),
    "an embedded scalar with definitions": ("a: {1, #b: 2}\nc: a + a.#b", '{"a":1,"c":3}'),
    "an embedded struct": ("a: {{b: 1}, c: 2}", '{"a":{"b":1,"c":2}}'),
    "an embedded struct that embeds itself": ("#A: {#A, b: 1}\nc: #A", '{"c":{"b":1}}'),
    "a definition is closed, what it embeds is allowed": (
        "#A: {a: int}\n#B: {#A, b: int}\nc: #B & {a: 1, b: 2}",
        '{"c":{"a":1,"b":2}}',
    ),
    "a definition may be open": ("#A: {a: int, ...}\nb: #A & {a: 1, c: 2}", '{"b":{"a":1,"c":2}}'),
    "hidden fields are always allowed": ("#A: {}\nb: #A & {_c: 1, #d: 2}", '{"b":{}}'),
    "a computed label is allowed": ('#A: {("a"): int}\nb: #A & {a: 1}', '{"b":{"a":1}}'),
    "a conditional field is allowed": (
        "#A: {a: int, if a == 1 {b: int}}\nc: #A & {a: 1, b: 2}",
        '{"c":{"a":1,"b":2}}',
    ),
    "what a closed struct contains is open": (
        "a: close({b: {}}) & {b: c: 1}",
        '{"a":{"b":{"c":1}}}',
    ),
    "a list of definitions": ("#A: {a: int}\nb: [...#A]\nb: [{a: 1}]", '{"b":[{"a":1}]}'),
    "a disjunct that takes itself for a list": ("a: {x: a[0], y: 1} | null", '{"a":null}'),
    "a disjunct that takes itself for a struct": ("a: [a.x] | null", '{"a":null}'),
    "an unused disjunct may be wrong": ("a: {b: 1 & 2} | {b: 3}", '{"a":{"b":3}}'),
    "a disjunct with a field that is not allowed": (
        "#A: {a: int}\n#B: {b: int}\nc: (#A | #B) & {b: 1}",
        '{"c":{"b":1}}',
    ),
    "disjuncts that become equal": ("#A: {a: 1}\n#B: {a: 1}\nc: #A | #B", '{"c":{"a":1}}'),
    "equal lists become one": ("a: [1, 2] | [1, 2]", '{"a":[1,2]}'),
    "equal bounds become one": ("a: (>1 | >1) & 2", '{"a":2}'),
    "a disjunction of disjunctions": ("a: ((1 | *2) | 3) & <3", '{"a":2}'),
    "defaults of nested disjunctions": ("a: *(*1 | 2) | 3", '{"a":1}'),
    "two disjunctions, three deep": (
        'a: {x: 1 | 2} & ({x: 1, y: *"a" | "b"} | {x: 3})',
        '{"a":{"x":1,"y":"a"}}',
    ),
    "checks wait for the last disjunction": (
        'import "struct"\n'
        "a: ({b: 1} | {c: 1}) & ({d: 1} | {d: 1, e: 1}) & struct.MaxFields(2) & {b: 1}",
        '{"a":{"b":1,"d":1}}',
    ),
}


@pytest.mark.parametrize(("text", "result"), VALUES.values(), ids=VALUES)
def test_a_struct(text: str, result: str) -> None:
    assert exported(text) == result


WRONG = {
    "an unknown name": (
        "hello: 1\na: helo",
        ['2:4: a: reference "helo" not found; did you mean "hello"?'],
    ),
    "a name of another struct": ("a: {b: 1}\nc: b", ['2:4: c: reference "b" not found']),
    "an alias outside of its value": (
        "a: X={b: X.c, c: 1}\nd: X",
        ['2:4: d: reference "X" not found'],
    ),
    "an alias that nothing uses": ("X=a: 1", ['1:1: unreferenced alias or let clause "X"']),
    "an alias of a value that nothing uses": (
        "a: X={}",
        ['1:4: a: unreferenced alias or let clause "X"'],
    ),
    "an alias of a computed label that nothing uses": (
        'X=("a"): 1',
        ['1:1: unreferenced alias or let clause "X"'],
    ),
    "a let that nothing uses": ("let x = 1", ['1:5: unreferenced alias or let clause "x"']),
    "a let of a field's name": (
        "x: 1\nlet x = 2\na: x",
        ['2:5: cannot have both alias and field with name "x" in same scope'],
    ),
    "a let of a let's name": (
        "let x = 1\nlet x = 2\na: x",
        ['2:5: alias "x" redeclared in same scope'],
    ),
    "a let that refers to itself": ("let x = x\na: x", ['1:9: reference "x" not found']),
    "lets in a circle": (
        "let x = y\nlet y = z\nlet z = x\na: x",
        ["3:9: cyclic references in let clause or alias"],
    ),
    "a label that is no name": ("_: 1", ["1:1: _ cannot be a label"]),
    "a computed label that is no string": (
        "a: (1): 2",
        ["1:5: a: invalid label 1 (type int); expected a string"],
    ),
    "a computed label that is not known": (
        "_k: string\na: (_k): 2",
        ["2:5: a: non-concrete value string in operand to label"],
    ),
    "a mark that is in no disjunction": (
        "a: *1",
        ["1:4: the default mark * stands only in a disjunction, such as *1 | int"],
    ),
    "a field that is not there": ("a: {b: 1}\nc: a.xyz", ["2:6: c: undefined field: xyz"]),
    "a field that is almost there": (
        "a: {name: 1}\nc: a.nam",
        ['2:6: c: undefined field: nam; did you mean "name"?'],
    ),
    "a field that a closed struct lacks": (
        "#A: {b: 1}\nc: #A.d",
        ["2:7: c: undefined field: d"],
    ),
    "an optional field that is not there": (
        "a: {b?: 1}\nc: a.b",
        ["2:6: c: cannot reference optional field: b"],
    ),
    "a field of an atom": (
        "a: 1\nb: a.c",
        ["2:4: b: invalid operand a (found int, want list or struct)"],
    ),
    "a field of what is not known": (
        "_a: _\nb: _a.c",
        ["2:4: b: _a.c is undefined, as _a is incomplete (type _)"],
    ),
    "a field of several structs": (
        "_a: {b: 1} | {b: 2}\nc: _a.b",
        ["2:4: c: unresolved disjunction {b: 1} | {b: 2}"],
    ),
    "a field of what is wrong": ("a: 1 & 2\nb: a.c", ["1:8: a: conflicting values 1 and 2"]),
    "a loop over an atom": (
        'a: [for v in "x" {v}]',
        ['1:14: a: invalid operand "x" (found string, want list or struct)'],
    ),
    "a loop over what is not known": (
        "_l: [...] | {}\na: [for v in _l {v}]",
        ["2:14: a: unresolved disjunction [...] | {}"],
    ),
    "a loop over a type": (
        "_l: _\na: {for v in _l {b: v}}",
        ["2:14: a: cannot range over _l (incomplete type _)"],
    ),
    "a loop over what is wrong": (
        "a: 1 & 2\nb: {for v in a {c: v}}",
        ["1:8: a: conflicting values 1 and 2"],
    ),
    "a condition that is no bool": (
        "a: {if 1 {b: 1}}",
        ["1:8: a: cannot use 1 (type int) as type bool"],
    ),
    "a condition that is not known": (
        "_a: bool\nb: {if _a {c: 1}}",
        ["2:8: b: non-concrete value bool in operand to if"],
    ),
    "a clause whose field it looked for in vain": (
        "a?: 1\nif a == _|_ {a: 1}",
        ["2:17: cycle: new field a is inserted by a clause that evaluated it before"],
    ),
    "a field of a struct that waits": (
        "_c: bool\na: {if _c {b: 1}}\nd: a.b",
        [
            "2:8: a: non-concrete value bool in operand to if",
        ],
    ),
    "a field that a definition does not allow": (
        '#A: {name: string}\na: #A & {nam: 1, name: "x"}',
        ['2:10: a.nam: field not allowed: nam; did you mean "name"?'],
    ),
    "a field that one of two definitions does not allow": (
        "#A: {a: int}\n#B: {a: int, b: int}\nc: #A & #B & {b: 1, a: 1}",
        ["3:15: c.b: field not allowed: b"],
    ),
    "a field that a pattern does not match": (
        '#A: [=~"^x"]: int\na: #A & {y: 1}',
        ["2:10: a.y: field not allowed: y"],
    ),
    "a field that a closed struct does not allow": (
        "a: close({b: 1}) & {c: 1}",
        ["1:21: a.c: field not allowed: c"],
    ),
    "a field around an embedded definition": (
        "#A: {a: int}\nb: {#A, a: 1}\nb: c: 2",
        ["3:4: b.c: field not allowed: c"],
    ),
    "a struct with an atom": (
        "a: {1, b: 2}",
        ["1:5: a: conflicting values {b: 2, …} and 1 (mismatched types struct and int)"],
    ),
    "a value is missing": (
        "#A: {b: string}\na: #A",
        ["1:9: a.b: incomplete value string: expected a concrete string"],
    ),
    "several values are left": (
        'a: "x" | "y"',
        ['1:4: a: incomplete value: 2 values are possible: "x" or "y"'],
    ),
    "several defaults are left": (
        "a: *1 | *2 | 3",
        ["1:4: a: incomplete value: 2 defaults are possible: 1 or 2"],
    ),
    "no disjunct is left": (
        "a: (1 | 2) & 3",
        [
            "1:14: a: none of 2 alternatives fits:\n"
            "  conflicting values 1 and 3\n"
            "  conflicting values 2 and 3"
        ],
    ),
    "no disjunct is known": (
        "b: {}\na: b.x | b.y",
        ["2:6: a: none of 2 alternatives fits:\n  undefined field: x\n  undefined field: y"],
    ),
    "a disjunction waits for a clause": (
        "_c: bool\na: {if _c {b: 1}} & ({c: 1} | {d: 1})",
        ["2:8: a: non-concrete value bool in operand to if"],
    ),
    "a hidden field may be incomplete, not wrong": (
        "_a: int\n_b: 1 & 2",
        ["2:9: _b: conflicting values 1 and 2"],
    ),
    "every fault is told": (
        'a: 1 & 2\nb: {c: int}\nd: e: "x" & 1',
        [
            "1:8: a: conflicting values 1 and 2",
            "2:8: b.c: incomplete value int: expected a concrete int",
            '3:13: d.e: conflicting values "x" and 1 (mismatched types string and int)',
        ],
    ),
}


@pytest.mark.parametrize(("text", "faults"), WRONG.values(), ids=WRONG)
def test_a_wrong_struct(text: str, faults: list[str]) -> None:
    assert refusal(text) == faults


def test_an_alias_waits_for_its_computed_label() -> None:
    assert refusal("X=(_k): 1\n_k: string\nb: X") == [
        "1:4: non-concrete value string in operand to label",
        "1:4: b: non-concrete value string in operand to label",
    ]


def test_a_field_through_what_is_no_reference() -> None:
    assert refusal("a: (1).b") == ["1:5: a: invalid operand 1 (found int, want list or struct)"]


def test_a_definition_of_an_atom_that_has_none() -> None:
    assert refusal("a: 1\nb: a.#c") == ["2:6: b: undefined field: #c"]
