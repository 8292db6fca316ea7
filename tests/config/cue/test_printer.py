"""How faults are shown."""

import textwrap

import pytest

from connect.config.cue.errors import CueError, Fault, FaultKind
from connect.config.cue.parser import parse
from connect.config.cue.printer import as_json, render_faults
from connect.config.cue.source import Source, Span


def rendered(text: str, name: str = "f.cue") -> str:
    """Return what is shown of a document's syntax faults."""
    with pytest.raises(CueError) as refused:
        parse(Source(name, text))
    return render_faults(refused.value)


def golden(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def fault(
    source: Source, *places: str, message: str = "wrong", path: tuple[str | int, ...] = ()
) -> Fault:
    """Return a fault at the first occurrences of texts in a source."""
    starts = [source.text.index(place) for place in places]
    spans = [Span(source, at, at + len(place)) for at, place in zip(starts, places, strict=True)]
    return Fault(FaultKind.EVALUATION, message, path, tuple(spans))


def test_each_fault_with_its_line() -> None:
    assert rendered('a: [1 2]\nb: {c: }\nd: "x') == golden("""
        f.cue:1:7: expected ',' or ']' behind an element, found 2
          1 | a: [1 2]
            |       ^
        f.cue:2:8: expected a value, found '}'
          2 | b: {c: }
            |        ^
        f.cue:3:4: a string is not closed: expected "
          3 | d: "x
            |    ^^
        3 faults in 1 file
        """)


def test_both_sides_of_a_conflict() -> None:
    schema = Source("schema.cue", "#A: {\n\n\n\n\n\n\n\n\n\tport: int\n}\n")
    data = Source("data.cue", 'a: #A & {port: "x"}\n')
    conflict = Fault(
        FaultKind.EVALUATION,
        'conflicting values int and "x" (mismatched types int and string)',
        ("a", "port"),
        (fault(data, '"x"').spans[0], fault(schema, "int").spans[0]),
    )
    assert render_faults([conflict]) == golden("""
        data.cue:1:16: a.port: conflicting values int and "x" (mismatched types int and string)
           1 | a: #A & {port: "x"}
             |                ^^^
          and here: schema.cue:10:8
          10 |     port: int
             |           ^^^
        1 fault in 1 file
        """)


def test_an_unclosed_bracket_with_where_it_opens() -> None:
    assert rendered("a: {\n\tb: 1\n\n") == golden("""
        f.cue:2:6: expected '}', found the end of the document
          2 |     b: 1
            |         ^
          and here: f.cue:1:4
          1 | a: {
            |    ^
        1 fault in 1 file
        """)


def test_the_disjuncts_of_a_disjunction_below_it() -> None:
    source = Source("f.cue", 'a: "x"')
    failed = fault(source, '"x"', message="no disjunct fits:\nnot 1\nnot 2", path=("a",))
    assert render_faults([failed]) == golden("""
        f.cue:1:4: a: no disjunct fits:
            not 1
            not 2
          1 | a: "x"
            |    ^^^
        1 fault in 1 file
        """)


def test_a_fault_without_a_place() -> None:
    assert render_faults([Fault(FaultKind.BUDGET, "too many steps", ("a", 0, "b-c"))]) == golden("""
        a[0]."b-c": too many steps
        1 fault
        """)


def test_tabs_and_wide_characters_align() -> None:
    source = Source("f.cue", '\ta: "日本語e\u0301" & wrong')
    assert render_faults([fault(source, "wrong")]) == golden("""
        f.cue:1:15: wrong
          1 |     a: "日本語e\u0301" & wrong
            |                    ^^^^^
        1 fault in 1 file
        """)


def test_wide_characters_are_underlined_whole() -> None:
    assert "    |    ^^^^^^\n" in render_faults([fault(Source("f", 'a: "日本"'), '"日本"')])


def test_control_characters_are_escaped() -> None:
    source = Source("f\x1b[2J.cue", "a: 1 // \x1b[1m\x85\u202e")
    failed = fault(source, "1", message="found \x07", path=("\x1b",))
    assert render_faults([failed]) == golden(r"""
        f\x1b[2J.cue:1:4: "\x1b": found \x07
          1 | a: 1 // \x1b[1m\x85\u202e
            |    ^
        1 fault in 1 file
        """)


@pytest.mark.parametrize(
    ("before", "after", "line", "underline"),
    [
        (0, 200, f"!{'y' * 99}…", "^"),
        (50, 20, f"{'x' * 50}!{'y' * 20}", f"{' ' * 50}^"),
        (200, 0, f"…{'x' * 60}!", f"{' ' * 61}^"),
        (200, 200, f"…{'x' * 60}!{'y' * 39}…", f"{' ' * 61}^"),
    ],
)
def test_long_lines_are_cut_around_the_place(
    before: int, after: int, line: str, underline: str
) -> None:
    source = Source("f", f"{'x' * before}!{'y' * after}")
    shown = render_faults([fault(source, "!")]).splitlines()
    assert shown[1:3] == [f"  1 | {line}", f"    | {underline}"]


def test_long_places_are_cut() -> None:
    source = Source("f", f"a: {'z' * 1000}")
    shown = render_faults([fault(source, "z" * 1000)]).splitlines()
    assert shown[1:3] == [f"  1 | a: {'z' * 97}…", f"    |    {'^' * 97}"]


def test_a_place_of_several_lines_shows_its_first() -> None:
    source = Source("f", "a: {\n  b: 1\n}")
    shown = render_faults([fault(source, "{\n  b: 1\n}")]).splitlines()
    assert shown[1:3] == ["  1 | a: {", "    |    ^"]


def test_a_place_named_twice_is_shown_once() -> None:
    source = Source("f", "a: 1")
    assert "and here" not in render_faults([fault(source, "1", "1")])


def test_of_many_places_some_are_shown() -> None:
    source = Source("f", "abcdefghijkl")
    shown = render_faults([fault(source, *"abcdefghijkl")])
    assert shown.count("and here") == 7
    assert "  and in 4 more places\n" in shown


def test_of_many_faults_the_first_are_shown() -> None:
    source = Source("f", "a b")
    shown = render_faults([fault(source, "a"), fault(source, "b")], limit=1)
    assert shown.splitlines()[-1] == "2 faults in 1 file, the first 1 shown"
    assert "f:1:3" not in shown


def test_faults_of_several_files_are_counted() -> None:
    faults = [fault(Source(name, "a"), "a") for name in "fg"]
    assert render_faults(faults).splitlines()[-1] == "2 faults in 2 files"


def test_colors_are_used_where_asked() -> None:
    shown = render_faults([fault(Source("f", "a"), "a")], color=True)
    assert shown == (
        "\x1b[1mf:1:1: wrong\x1b[0m\n"
        "  \x1b[2m1 |\x1b[0m a\n"
        "  \x1b[2m  |\x1b[0m \x1b[1;31m^\x1b[0m\n"
        "\x1b[1m1 fault in 1 file\x1b[0m\n"
    )


def test_faults_for_programs() -> None:
    source = Source("f.cue", "a: {\n  b: 1\n}")
    failed = fault(source, "{\n  b: 1\n}", "b", message="wrong", path=("a", 0))
    assert as_json(CueError([failed])) == [
        {
            "kind": "evaluation",
            "message": "wrong",
            "path": ["a", 0],
            "places": [
                {"file": "f.cue", "line": 1, "column": 4, "end_line": 3, "end_column": 2},
                {"file": "f.cue", "line": 2, "column": 3, "end_line": 2, "end_column": 4},
            ],
        }
    ]
