"""``functions check``: each class of faults, with all that is printed of it."""

import re

import pytest

from tests.cli.functions.given import REFUND, Run, write

# Each class of faults, with all that the command prints of it.
GOLDEN = {
    "syntax": (
        'function: {\n\tid: "f\n}\n',
        """\
f.cue:2:6: a string is not closed: expected "
  2 |     id: "f
    |         ^^
1 fault in 1 file
""",
    ),
    "import": (
        'import "strngs"\n\nfunction: {id: "f", name: strngs.ToLower("F"), triggers: []}\n',
        """\
f.cue:1:8: cannot find package "strngs"; did you mean "strings"?
  1 | import "strngs"
    |        ^^^^^^^^
1 fault in 1 file
""",
    ),
    "reference": (
        '_topic: "a"\nfunction: {id: "f", name: "F", triggers: [{event: _topc}]}\n',
        """\
f.cue:2:51: function.triggers[0].event: reference "_topc" not found; did you mean "_topic"?
  2 | function: {id: "f", name: "F", triggers: [{event: _topc}]}
    |                                                   ^^^^^
1 fault in 1 file
""",
    ),
    "unknown field": (
        'function: {\n\tid: "f", name: "F"\n\ttriggers: []\n\tconcurency: 5\n}\n',
        """\
f.cue:4:2: function.concurency: field not allowed: concurency; did you mean "concurrency"?
  4 |     concurency: 5
    |     ^^^^^^^^^^
1 fault in 1 file
""",
    ),
    "bound": (
        'function: {\n\tid: "f", name: "F", triggers: []\n\tsteps: a: retries: attempts: 21\n}\n',
        """\
f.cue:3:31: function.steps.a.retries.attempts: invalid value 21 (out of bound <=20)
  3 |     steps: a: retries: attempts: 21
    |                                  ^^
  and here: SCHEMA
1 fault in 1 file
""",
    ),
    "conflict": (
        'function: {\n\tid: "f", name: "F", triggers: []\n}\nfunction: name: "G"\n',
        """\
f.cue:4:17: function.name: conflicting values "F" and "G"
  4 | function: name: "G"
    |                 ^^^
  and here: f.cue:2:17
  2 |     id: "f", name: "F", triggers: []
    |                    ^^^
1 fault in 1 file
""",
    ),
    "incomplete": (
        'function: {id: "f", name: string, triggers: []}\n',
        """\
f.cue:1:27: function.name: incomplete value string: expected a concrete string
  1 | function: {id: "f", name: string, triggers: []}
    |                           ^^^^^^
  and here: SCHEMA
1 fault in 1 file
""",
    ),
    "cycle of values": (
        '_a: _b + 1\n_b: _a + 1\nfunction: {id: "f", name: "F", concurrency: _a, triggers: []}\n',
        """\
f.cue:1:5: function.concurrency: cycle error: the value refers to itself
  1 | _a: _b + 1
    |     ^^
1 fault in 1 file
""",
    ),
    "missing field": (
        'functon: {id: "f", name: "F", triggers: []}\n',
        """\
f.cue:1:1: there is no field `function`; is functon meant to be it?
  1 | functon: {id: "f", name: "F", triggers: []}
    | ^^^^^^^
1 fault in 1 file
""",
    ),
    "empty": (
        "",
        """\
f.cue:1:1: there is no field `function`
  1 |
    | ^
1 fault in 1 file
""",
    ),
    "list": (
        '[{"id": "f", "name": "F", "triggers": []}]\n',
        """\
f.cue:1:1: a list; expected one function, {…} or a field `function`
  1 | [{"id": "f", "name": "F", "triggers": []}]
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
1 fault in 1 file
""",
    ),
    "event": (
        'function: {id: "f", name: "F", triggers: [{event: "a*b"}]}\n',
        """\
f.cue:1:51: function.triggers[0].event: a star may only end a pattern, as in 'shop/order.*'
  1 | function: {id: "f", name: "F", triggers: [{event: "a*b"}]}
    |                                                   ^^^^^
1 fault in 1 file
""",
    ),
    "expression": (
        'function: {id: "f", name: "F", triggers: [\n'
        '\t{event: "a", expression: "evnt.n == 1"},\n]}\n',
        """\
f.cue:2:27: function.triggers[0].expression: undeclared reference to 'evnt'; there is event; \
did you mean 'event'? (line 1, column 1)
  2 |     {event: "a", expression: "evnt.n == 1"},
    |                              ^^^^^^^^^^^^^
1 fault in 1 file
""",
    ),
    "cron": (
        'function: {id: "f", name: "F", triggers: [{cron: "61 * * * *"}]}\n',
        """\
f.cue:1:50: function.triggers[0].cron: '61' is no minute of a cron expression; expected 0 to 59
  1 | function: {id: "f", name: "F", triggers: [{cron: "61 * * * *"}]}
    |                                                  ^^^^^^^^^^^^
1 fault in 1 file
""",
    ),
    "duration": (
        'function: {id: "f", name: "F", triggers: []\n\tthrottle: period: "1 h"}\n',
        """\
f.cue:2:20: function.throttle.period: unknown unit ' h'; units are w, d, h, m, s, ms, us and ns; \
expected something like 10s, 1h30m, 500ms or 7d
  2 |     throttle: period: "1 h"}
    |                       ^^^^^
1 fault in 1 file
""",
    ),
    "step": (
        'function: {id: "f", name: "F", triggers: []\n'
        '\tsteps: {one: {}, two: after: [{step: "on"}]}}\n',
        """\
f.cue:2:39: function.steps.two.after[0].step: there is no step 'on'; did you mean 'one'?
  2 |     steps: {one: {}, two: after: [{step: "on"}]}}
    |                                          ^^^^
1 fault in 1 file
""",
    ),
    "cycle of steps": (
        'function: {id: "f", name: "F", triggers: []\n'
        '\tsteps: {a: after: [{step: "b"}], b: after: [{step: "a"}]}}\n',
        """\
f.cue:2:28: function.steps.a.after[0].step: steps form a cycle: a → b → a
  2 |     steps: {a: after: [{step: "b"}], b: after: [{step: "a"}]}}
    |                               ^^^
1 fault in 1 file
""",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_a_fault_is_told_with_place_line_and_what_would_be_right(name: str, run: Run) -> None:
    text, expected = GOLDEN[name]
    write("f.cue", text)
    answer = run("check", "f.cue")
    # Where the definitions themselves say so is theirs to change.
    told = re.sub(r"(?<=and here: )inngest\.com.*\n.*\n.*", "SCHEMA", answer.err)
    told = re.sub(r"(?m)^ +(?=[0-9] \|)", "  ", re.sub(r"(?m)^ +\|", "    |", told))
    assert told == expected
    assert (answer.code, answer.out) == (1, "1 file checked, 0 functions fine\n")


def test_an_id_that_is_used_twice_is_told_with_both_places(run: Run) -> None:
    write("a.json", REFUND)
    write("b.json", REFUND)
    assert run("check", "a.json", "b.json").err == (
        """\
b.json:1:8: id: another function has the same id
  1 | {"id": "refund", "name": "Refund", "triggers": [{"event": "shop/refund"}]}
    |        ^^^^^^^^
  and here: a.json:1:8
  1 | {"id": "refund", "name": "Refund", "triggers": [{"event": "shop/refund"}]}
    |        ^^^^^^^^
1 fault in 1 file
"""
    )


def test_a_document_that_takes_too_long_is_told(run: Run) -> None:
    text = 'import "list"\n_n: list.Range(0, 3000, 1)\nfunction: {id: "f", name: "F", triggers: [\n'
    write("f.cue", text + 'for x in _n for y in _n {event: "a"}]}\n')
    answer = run("check", "f.cue")
    assert answer.code == 1
    assert re.match(r"f\.cue:\d+:\d+: function\.triggers: the evaluation takes more", answer.err)
