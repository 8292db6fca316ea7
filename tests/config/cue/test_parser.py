"""The grammar of CUE, and what is told of documents that break it."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.ast import (
    Attribute,
    Binary,
    Embedding,
    Field,
    File,
)
from connect.config.cue.errors import CueError, Fault, FaultKind
from connect.config.cue.parser import parse, parse_expression
from connect.config.cue.source import Source
from connect.config.cue.writer import expression_text
from tests.config.cue.examples import CASES, Case
from tests.config.cue.frames import with_frames_left
from tests.config.cue.reading import declarations, faults

# Of the cases that the real CUE refuses when it loads or builds: those that are no matter
# of the grammar, which the resolver refuses.
NOT_OF_THE_GRAMMAR = {
    "arith_bounds_operand",
    "boolop_compare_type",
    "cfcue_missing_import",
    "cfcue_unused_let",
    "cfenv_bool_from_env_bad",
    "cycle_let_cycle",
    "fnbasic_unresolved_reference",
    "fnbasic_unused_let",
    "import_external_unknown",
    "ref_let_redeclared",
    "ref_nested_field_not_visible_outside",
    "ref_unresolved_nested",
    "ref_value_alias_outside_scope",
    "type_unknown_type",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_cases_parse_unless_the_grammar_forbids_them(case: Case) -> None:
    is_refused = case.stage in ("load", "build") and case.name not in NOT_OF_THE_GRAMMAR
    text = case.text
    if case.group == "config" and text.strip().startswith("{"):
        text = f"config: {text}"
    if is_refused:
        with pytest.raises(CueError):
            parse(Source(case.name, text))
    else:
        parse(Source(case.name, text))


class TestPreamble:
    def test_package_and_imports(self) -> None:
        file = parse(
            Source("x", '@a()\npackage p\n@b()\nimport "x"\nimport ( y "a/b:c"\n"d", )\nz: 1')
        )
        assert file.package is not None
        assert file.package.name == "p"
        assert [(item.path, item.name and item.name.name) for item in file.imports] == [
            ("x", None),
            ("a/b:c", "y"),
            ("d", None),
        ]
        assert [type(part) for part in file.body.declarations] == [Attribute, Attribute, Field]

    @pytest.mark.parametrize(
        "text", ["", "package a", "import ()", 'import "a", b: 1', "package a, b: 1", "//", "\n"]
    )
    def test_there_may_be_little(self, text: str) -> None:
        assert isinstance(parse(Source("x", text)), File)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("package 9a", "1:9: expected the name of the package, found 9"),
            ("package: 1", "1:8: expected the name of the package, found ':'"),
            ("package a b", "1:11: expected a comma or a new line, found the name b"),
            (
                "import a",
                '1:9: expected the path of a package, such as "strings"'
                ", found the end of the document",
            ),
            ('import . "a"', "1:8: expected the path of a package, such as \"strings\", found '.'"),
            ("import 'a'", "1:8: expected the path of a package, such as \"strings\", found 'a'"),
            (
                'import """\na\n"""',
                '1:8: expected the path of a package, such as "strings", found """',
            ),
            ('import "a b"', '1:8: "a b" is no path of a package'),
            ('import ""', '1:8: "" is no path of a package'),
            ('import ("a" "b")', '1:13: expected a comma or a new line, found "b"'),
            (
                'a: 1\nimport "b"',
                "2:8: expected a comma or a new line (import clauses stand before all"
                ' fields), found "b"',
            ),
            (
                "a: 1\npackage b",
                "2:9: expected a comma or a new line (package clauses stand before"
                " all fields), found the name b",
            ),
        ],
    )
    def test_what_is_wrong_is_told(self, text: str, message: str) -> None:
        assert faults(text)[0] == message


class TestRecovery:
    @pytest.mark.parametrize(
        ("text", "places"),
        [
            ("a: }\nb: ]\nc: 1 2\nd: 4", ["1:4", "2:4", "3:6"]),
            ("a: {b: , c: 1}\nd: ]", ["1:8", "2:4"]),
            ("a: [1 2, 3 4, {b: )}, 5]\nc: )", ["1:7", "1:12", "1:19", "2:4"]),
            ("a: f(1 2, (3 4), 5)\nb: )", ["1:8", "1:14", "2:4"]),
            ("a: (1 + 2\nb: )", ["1:10", "2:4"]),
            ("a: (1 2, 3)\nb: )", ["1:7", "2:4"]),
            ('a: "\\(1 2)", b: )', ["1:9", "1:17"]),
            ('{"a": 1 "b": 2}\nc: ]', ["1:9", "2:4"]),
            ('{"a": 1,\n "b" 2,\n "c": [1,, 2]}', ["2:6", "3:10"]),
            ("a: [1, {b: 2]\nc: }", ["1:13", "2:4"]),
            ("let = 1\nfor in x {}\nb: )", ["1:5", "2:5", "3:4"]),
            ("import 1\na: )", ["1:8", "2:4"]),
            ("a: {b: f(1 }\nc: )", ["1:12", "2:4"]),
            ("a: {b: [1 }\nc: )", ["1:11", "2:4"]),
            ("a: 1 _|_ 2\nb: _|_ c", ["1:6", "2:8"]),
        ],
    )
    def test_every_fault_is_found_once(self, text: str, places: list[str]) -> None:
        found = [":".join(fault.split(":")[:2]) for fault in faults(text)]
        assert found == places

    def test_of_many_faults_twenty_are_told(self) -> None:
        assert len(faults("a: }\n" * 100)) == 20

    @pytest.mark.parametrize("token", ['"\\q" + ', "a: ~\n"])
    def test_of_many_faulty_tokens_twenty_are_told(self, token: str) -> None:
        assert len(faults(token * 100)) == 20

    @pytest.mark.parametrize(
        ("text", "opened"),
        [
            ("a: {b: 1", "{"),
            ("a: [1, 2", "["),
            ("a: f(1", "("),
            ("a: b[0", "["),
            ('a: "\\(b', '"\\('),
        ],
    )
    def test_an_unclosed_bracket_is_shown_with_its_end(self, text: str, opened: str) -> None:
        with pytest.raises(CueError) as refused:
            parse(Source("x", f"{text}\n\n"))
        (fault,) = refused.value.faults
        end, start = fault.spans
        assert "found the end of the " in fault.message
        assert (end.start, start.text) == (len(text), opened)

    @given(st.text(alphabet="ab1_#.,:;?=!<>*+-&|()[]{}\"'\\/@$ \n\tfori", max_size=60))
    def test_any_text_is_parsed_or_refused_with_places(self, text: str) -> None:
        found: tuple[Fault, ...] = ()
        try:
            parse(Source("x", text))
        except CueError as error:
            found = error.faults
        for fault in found:
            assert fault.spans
            assert all(0 <= span.start <= span.end <= len(text) for span in fault.spans)


def nested(opening: str, closing: str) -> Callable[[int], str]:
    return lambda depth: f"a: {opening * depth}1{closing * depth}"


NESTINGS = [
    pytest.param(nested("[", "]"), id="lists"),
    pytest.param(nested("{b: ", "}"), id="structs"),
    pytest.param(nested("(", ")"), id="parentheses"),
    pytest.param(nested("f(", ")"), id="calls"),
    pytest.param(nested("b[", "]"), id="indexes"),
    pytest.param(nested('"\\(', ')"'), id="interpolations"),
    pytest.param(nested("b: ", ""), id="labels"),
    pytest.param(nested("-", ""), id="prefixes"),
]


class TestDepth:
    @pytest.mark.parametrize("document", NESTINGS)
    def test_documents_may_be_nested_so_deeply(self, document: Callable[[int], str]) -> None:
        parse(Source("x", document(99)), depth=99)

    @pytest.mark.parametrize("document", NESTINGS)
    def test_and_no_deeper(self, document: Callable[[int], str]) -> None:
        with pytest.raises(CueError) as refused:
            parse(Source("x", document(100)), depth=99)
        (fault,) = refused.value.faults
        assert fault.kind is FaultKind.BUDGET
        assert fault.message == "nested too deeply: more than 99 levels"

    def test_json_may_be_nested_by_default_as_deeply_as_the_depth_says(self) -> None:
        parse(Source("x", f"{'[' * 200}{']' * 200}"))
        parse(Source("x", '{"a": ' * 199 + "{}" + "}" * 199))

    @pytest.mark.parametrize(
        "unit",
        [
            "[",
            "(",
            "{",
            "{a:",
            "a:",
            "f(",
            "a[",
            "!",
            '"\\(',
            "if {",
            "[for x in [",
            "1+",
            "a.b",
            "a|",
            "a=",
            "let a=",
            '"',
            "@(",
            "#",
            "x: ]\n",
            "\\",
            "{[(",
        ],
    )
    def test_no_large_document_breaks_the_parser(self, unit: str) -> None:
        text = "x: " + unit * (2**16 // len(unit))
        with pytest.raises(CueError):
            parse(Source("x", text))

    def test_nesting_may_be_deeper_than_the_stack(self) -> None:
        depth = 10 * sys.getrecursionlimit()
        file = parse(Source("x", "[" * depth + "]" * depth), depth=depth)
        (embedding,) = file.body.declarations
        assert embedding.span.end == 2 * depth

    def test_a_fault_at_any_depth_is_told(self) -> None:
        depth = sys.getrecursionlimit()
        with pytest.raises(CueError) as refused:
            parse(Source("x", "[" * depth + "=" + "]" * depth), depth=depth)
        (fault,) = refused.value.faults
        assert (fault.kind, fault.spans[0].start) == (FaultKind.SYNTAX, depth)

    def test_what_the_caller_leaves_no_stack_for_is_over_budget(self) -> None:
        with pytest.raises(CueError) as refused:
            with_frames_left(60, lambda: parse(Source("x", "[" * 100 + "]" * 100)))
        (fault,) = refused.value.faults
        assert fault.kind is FaultKind.BUDGET
        assert fault.message == (
            "nested more deeply than the caller has left room for on Python's stack"
        )

    def test_a_chain_of_operators_may_be_long(self) -> None:
        chain = parse_expression(Source("x", " | ".join(["a"] * 10_000)))
        assert isinstance(chain, Binary)

    def test_but_not_endless(self) -> None:
        assert faults("a: " + " | ".join(["a"] * 10_001)) == [
            "1:40004: an expression of more than 10000 operands"
        ]

    def test_selectors_in_a_row_are_limited(self) -> None:
        assert faults(f"a: b{'.c' * 200}") == ["1:405: more than 200 selectors in a row"]


class TestExpressions:
    def test_one_alone_is_parsed(self) -> None:
        assert expression_text(parse_expression(Source("x", "a.b + 1\n"))) == "a.b + 1"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "expected a value, found the end of the document"),
            ("a: 1", "expected the end of the document, found ':'"),
            ("a, b", "expected the end of the document, found the name b"),
            ("a b", "expected the end of the document, found the name b"),
        ],
    )
    def test_nothing_else_may_stand_there(self, text: str, message: str) -> None:
        with pytest.raises(CueError) as refused:
            parse_expression(Source("x", text))
        assert [fault.message for fault in refused.value.faults] == [message]

    def test_an_embedding_is_the_expression(self) -> None:
        (embedding,) = declarations("a.b")
        assert isinstance(embedding, Embedding)
        assert embedding.span == embedding.value.span
