"""The canonical layout: what it keeps, and what it makes of documents."""

import textwrap
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.ast import Declaration, Expr, File, StructLit
from connect.config.cue.display import format_value
from connect.config.cue.errors import CueError
from connect.config.cue.findings import Findings
from connect.config.cue.formatter import expression_text, format_file
from connect.config.cue.parser import parse, parse_expression
from connect.config.cue.scanner import END, INTERPOLATION, TEXT_END, Scanner
from connect.config.cue.source import Source
from connect.config.cue.trees import same_tree
from connect.config.cue.writer import Writer, written
from tests.config.cue.examples import CASES
from tests.config.cue.trees import declarations, expressions

# What may stand between two tokens.
BREAKS = ["", "", "\n", "\n\n\n", " // c\n", "\n// d\n\n// e\n"]


def parsed(text: str) -> File:
    return parse(Source("x", text))


def formatted(text: str) -> str:
    return format_file(parsed(text))


def block(text: str) -> str:
    """Return an indented block of text; ``→`` is a tab."""
    return textwrap.dedent(text).lstrip("\n").replace("→", "\t")


def check_round_trip(text: str) -> None:
    file = parsed(text)
    once = format_file(file)
    again = parsed(once)
    assert same_tree(file, again)
    assert format_file(again) == once
    assert sorted(comment.text for comment in file.comments) == sorted(
        comment.text for comment in again.comments
    )


def documents() -> list[str]:
    texts = []
    for case in CASES:
        try:
            parsed(case.text)
        except CueError:
            continue
        texts.append(case.text)
    return texts


class TestRoundTrips:
    @pytest.mark.parametrize("text", documents())
    def test_a_case_stays_what_it_is(self, text: str) -> None:
        check_round_trip(text)

    @given(expressions)
    def test_the_text_of_an_expression_parses_to_it(self, expression: Expr) -> None:
        text = expression_text(expression)
        assert same_tree(parse_expression(Source("x", text)), expression)

    @given(st.lists(declarations, max_size=5))
    def test_declarations_parse_to_themselves(self, parts: list[Declaration]) -> None:
        text = "\n".join(written(Writer().declaration(part, 0)) for part in parts)
        body = parsed(text).body.declarations
        assert len(body) == len(parts)
        assert all(same_tree(one, other) for one, other in zip(body, parts, strict=True))

    @given(st.lists(declarations, max_size=4), st.randoms(use_true_random=False))
    def test_any_layout_comes_to_rest(self, parts: list[Declaration], random: Random) -> None:
        text = "\n".join(written(Writer().declaration(part, 0)) for part in parts)
        scanner = Scanner(Source("x", text), Findings())
        pieces = []
        position = depth = 0
        while (token := scanner.next()).kind != END:
            depth += (token.kind == INTERPOLATION) - (token.kind == TEXT_END)
            pieces.append(text[position : token.end])
            position = token.end
            may_break = token.kind in ("{", "[", "(", ",", "|", "&", "+", ":") and not depth
            if may_break and token.value != "\n":
                pieces.append(
                    random.choice(["", "", "\n", "\n\n\n", " // c\n", "\n// d\n\n// e\n"])
                )
        check_round_trip("".join(pieces))

    @given(expressions)
    def test_the_layout_of_a_value_parses_to_it(self, expression: Expr) -> None:
        text = format_value(expression)
        again: Expr = (
            parse_expression(Source("x", text))
            if not isinstance(expression, StructLit)
            else parsed(text).body
        )
        assert same_tree(again, expression)


class TestLayout:
    @pytest.mark.parametrize(
        ("text", "layout"),
        [
            pytest.param("", "", id="nothing"),
            pytest.param("\n\n // a\n\n\n//b", "// a\n\n//b\n", id="only comments"),
            pytest.param("a:1,b :2", "a: 1\nb: 2\n", id="one line each"),
            pytest.param("a:  b :   c:1", "a: b: c: 1\n", id="chains"),
            pytest.param("a:\n\n1", "a: 1\n", id="value on the next line"),
            pytest.param("a: {b: 1 , c: 2,}", "a: {b: 1, c: 2}\n", id="struct on one line"),
            pytest.param("a: {\n}\nb: [\n]", "a: {}\nb: []\n", id="empty brackets"),
            pytest.param("a: {b: 1\n}", "a: {\n\tb: 1\n}\n", id="struct with a line break"),
            pytest.param("a: {..., b: 1}", "a: {\n\t...\n\tb: 1\n}\n", id="ellipsis inside"),
            pytest.param("a: [1,2 , 3,]", "a: [1, 2, 3]\n", id="list on one line"),
            pytest.param("a: [1,2,\n3]", "a: [\n\t1, 2,\n\t3,\n]\n", id="rows of a list"),
            pytest.param(
                "a: [{\nb:1\n},{c:2}]", "a: [{\n\tb: 1\n}, {c: 2}]\n", id="hugged structs"
            ),
            pytest.param("a: f(1,\n2)", "a: f(\n\t1,\n\t2,\n)\n", id="arguments"),
            pytest.param("a: f( 1 )\nb: c [0]", "a: f(1)\nb: c[0]\n", id="spaces"),
            pytest.param("a: x|\ny|\n z", "a: x |\n\ty |\n\tz\n", id="broken disjunction"),
            pytest.param("package  a\nb: 1", "package a\n\nb: 1\n", id="package"),
            pytest.param(
                "@a()\npackage b\n@c()\nd: 1", "@a()\npackage b\n\n@c()\nd: 1\n", id="attributes"
            ),
            pytest.param(
                'import ("b", "a")\nc: 1', 'import (\n\t"a"\n\t"b"\n)\n\nc: 1\n', id="imports"
            ),
            pytest.param(
                'import "b"\nimport "a"', 'import (\n\t"a"\n\t"b"\n)\n', id="imports joined"
            ),
            pytest.param('import ( x "a/b:c" )', 'import x "a/b:c"\n', id="one import"),
            pytest.param(
                'import (\n"c"\n"b"\n\n"a"\n)',
                'import (\n\t"b"\n\t"c"\n\n\t"a"\n)\n',
                id="import groups",
            ),
            pytest.param("import ()\na: 1", "a: 1\n", id="no imports"),
            pytest.param("a: 1\n\n\n\nb: 2\n\n", "a: 1\n\nb: 2\n", id="blank lines"),
            pytest.param(
                "a: {\n\nb: 1\n\n\nc: 2\n\n}",
                "a: {\n\tb: 1\n\n\tc: 2\n}\n",
                id="blank lines inside",
            ),
            pytest.param(
                "for x in y\nif z{a:x}", "for x in y\nif z {a: x}\n", id="clauses on lines"
            ),
            pytest.param("a: [for x in y {x},]", "a: [for x in y {x}]\n", id="list comprehension"),
            pytest.param("let  a=1 , b: a", "let a = 1\nb: a\n", id="let"),
            pytest.param("X = a: Y = {}", "X=a: Y={}\n", id="aliases"),
            pytest.param(
                "\ufeffa: 1\r\nb: {\r\nc: 2\r\n}\r\n", "a: 1\nb: {\n\tc: 2\n}\n", id="line ends"
            ),
        ],
    )
    def test_documents(self, text: str, layout: str) -> None:
        assert formatted(text) == layout

    @pytest.mark.parametrize(
        ("text", "layout"),
        [
            ("1+2*3", "1 + 2*3"),
            ("1+2==3", "1+2 == 3"),
            ("a*b==c+d&&e", "a*b == c+d && e"),
            ("a*b", "a * b"),
            ("1-2*3/4+5", "1 - 2*3/4 + 5"),
            ("(1+2)*3", "(1 + 2) * 3"),
            ("1+2|3*4", "1+2 | 3*4"),
            ("7 div 2+1", "7 div 2 + 1"),
            ("f(1+2,3*4)", "f(1+2, 3*4)"),
            ("f(1+2)", "f(1 + 2)"),
            ("a[n+1:n*2]", "a[n+1:n*2]"),
            ("[1+2]", "[1 + 2]"),
            ("> 1&<10", ">1 & <10"),
            ("- -1", "- -1"),
            ("+ +1", "+ +1"),
            ("-+1", "-+1"),
            ('! =~"a"', '! =~"a"'),
            ("< -1", "< -1"),
            ("> - 1", ">-1"),
            ("*1|int", "*1 | int"),
        ],
    )
    def test_spaces_in_expressions(self, text: str, layout: str) -> None:
        assert formatted(f"a: {text}") == f"a: {layout}\n"

    @pytest.mark.parametrize(
        "text",
        ["1_000", "0xFF", "1.50", "5Ki", "1e3", '#"a"#', '"\\u0041"', "'\\x41'", '"\\( a+1 )"'],
    )
    def test_literals_stay_as_they_are_written(self, text: str) -> None:
        assert formatted(f"a: {text}") == f"a: {text}\n"

    def test_labels_of_other_forms_become_plain_strings(self) -> None:
        assert formatted('#"a"#: 1') == '"a": 1\n'


class TestAlignment:
    @pytest.mark.parametrize(
        ("text", "layout"),
        [
            pytest.param(
                "a: 1\nlonger?: 2\n[string]: 3",
                "a:        1\nlonger?:  2\n[string]: 3\n",
                id="values",
            ),
            pytest.param("a: 1\n\nfoo: 2", "a: 1\n\nfoo: 2\n", id="not over blank lines"),
            pytest.param("a: 1\n// b\nfoo: 2", "a: 1\n// b\nfoo: 2\n", id="not over comments"),
            pytest.param(
                "a: 1\nfoo: {b: 1}\nxx: 2\nyyy: 3",
                "a: 1\nfoo: {b: 1}\nxx:  2\nyyy: 3\n",
                id="not over structs",
            ),
            pytest.param("a: 1\nfoo: [1]\nxx: 2", "a: 1\nfoo: [1]\nxx: 2\n", id="not over lists"),
            pytest.param("a: 1\nfoo: b: 2", "a: 1\nfoo: b: 2\n", id="not with chains"),
            pytest.param(
                "foo: 1\na: x |\ny\nlonger: 2\nb: 3",
                "foo: 1\na:   x |\n\ty\nlonger: 2\nb:      3\n",
                id="up to what has several lines",
            ),
            pytest.param(
                "a: 1 // x\nfoo: 20 // y\nb: 3",
                "a:   1  // x\nfoo: 20 // y\nb:   3\n",
                id="comments",
            ),
            pytest.param(
                "a: 1 // x\nfoo: 2\nlonger: 30 // y",
                "a:      1 // x\nfoo:    2\nlonger: 30 // y\n",
                id="comments only without a gap",
            ),
            pytest.param(
                "a: 1 @x()\nfoo: 20 @y() @z()\nb: 3",
                "a:   1  @x()\nfoo: 20 @y() @z()\nb:   3\n",
                id="attributes",
            ),
            pytest.param(
                "a: [\n1, // x\n20, 3 // y\n]",
                "a: [\n\t1,     // x\n\t20, 3, // y\n]\n",
                id="comments in lists",
            ),
        ],
    )
    def test_columns(self, text: str, layout: str) -> None:
        assert formatted(text) == layout


class TestComments:
    @pytest.mark.parametrize(
        ("text", "layout"),
        [
            pytest.param("// a\nb: 1", "// a\nb: 1\n", id="before"),
            pytest.param("// a\n\nb: 1", "// a\n\nb: 1\n", id="apart"),
            pytest.param("b: 1   // a", "b: 1 // a\n", id="behind"),
            pytest.param("a: { // b\nc: 1}", "a: { // b\n\tc: 1\n}\n", id="behind a brace"),
            pytest.param("a: {\n// b\n}", "a: {\n\t// b\n}\n", id="alone in a struct"),
            pytest.param("a: [ // b\n]", "a: [ // b\n]\n", id="alone behind a bracket"),
            pytest.param(
                "a: [\n1,\n// b\n2, // c\n// d\n]",
                "a: [\n\t1,\n\t// b\n\t2, // c\n\t// d\n]\n",
                id="in a list",
            ),
            pytest.param("a: {\nb: 1\n} // c", "a: {\n\tb: 1\n} // c\n", id="behind a struct"),
            pytest.param(
                "a: 1 | // b\n2 | // c\n3",
                "// b\n// c\na: 1 |\n\t2 |\n\t3\n",
                id="in an expression",
            ),
            pytest.param("a: // b\n1", "// b\na: 1\n", id="before a value"),
            pytest.param("a: 1 // b\n// c\n\n// d", "a: 1 // b\n// c\n\n// d\n", id="at the end"),
            pytest.param("a: 1, // b\nc: 2", "a: 1 // b\nc: 2\n", id="behind a comma"),
            pytest.param(
                "// a\npackage b // c\n// d\ne: 1",
                "// a\npackage b // c\n\n// d\ne: 1\n",
                id="around a package",
            ),
            pytest.param(
                'import (\n// a\n"c" // b\n// d\n"b"\n)',
                'import (\n\t// d\n\t"b"\n\t// a\n\t"c" // b\n)\n',
                id="around imports",
            ),
            pytest.param(
                '// import\nimport "a" // b',
                '// import\nimport "a" // b\n',
                id="that look like an import",
            ),
            pytest.param(
                "a: f( // b\n1, // c\n)", "a: f( // b\n\t1, // c\n)\n", id="among arguments"
            ),
            pytest.param(
                'a: "\\({b: 1 // c\n}.b)"', 'a: "\\({b: 1 // c\n}.b)"\n', id="in a string"
            ),
        ],
    )
    def test_where_they_go(self, text: str, layout: str) -> None:
        assert formatted(text) == layout


class TestMultilineStrings:
    def test_they_are_indented_with_their_field(self) -> None:
        text = 'a: {\n b: """\n      x\n\n        y \\(z)\n      """\n}'
        assert formatted(text) == block('''
            a: {
            →b: """
            →→x

            →→  y \\(z)
            →→"""
            }
            ''')

    def test_their_neighbours_are_not_aligned_with_them(self) -> None:
        text = 'foo: 1\na: """\n\tx\n\t"""\nlonger: 2\nb: 3'
        assert formatted(text) == 'foo: 1\na: """\n\tx\n\t"""\nlonger: 2\nb:      3\n'

    @pytest.mark.parametrize(
        "text",
        ['a: """\n x"""', 'a: """\n  \\({\nb: 1\n}.b)\n  """', 'a: "\\({\nb: 1\n}.b)"'],
    )
    def test_what_cannot_be_indented_stays(self, text: str) -> None:
        assert formatted(text) == f"{text}\n"

    def test_in_a_list_they_are_indented_too(self) -> None:
        assert formatted('a: ["""\nx\n""", 1]') == 'a: ["""\n\tx\n\t""", 1]\n'


class TestDepth:
    @pytest.mark.parametrize(
        "text",
        [
            f"a: {'[' * 190}{']' * 190}",
            f"a: {'{a: ' * 190}1{'}' * 190}",
            "a: " + "{\n//c\na: " * 150 + "1" + "}" * 150,
            "a: " + "-" * 190 + "b",
            f"a: b{'.c' * 190}",
            f"a: {' | '.join(['b'] * 5000)}",
        ],
        ids=["lists", "structs", "blocks", "prefixes", "selectors", "operators"],
    )
    def test_what_is_parsed_can_be_formatted(self, text: str) -> None:
        check_round_trip(text)


class TestExpressionText:
    def test_it_is_cut_where_asked(self) -> None:
        expression = parse_expression(Source("x", '{a: "bcdef"}'))
        assert expression_text(expression, limit=8) == '{a: "bc…'

    def test_it_is_whole_where_it_fits(self) -> None:
        expression = parse_expression(Source("x", "{a: 1}"))
        assert expression_text(expression, limit=6) == "{a: 1}"

    def test_it_is_one_line(self) -> None:
        expression = parse_expression(Source("x", '{\na: """\n  b\n  c\n  """\n// d\n}'))
        assert expression_text(expression) == '{a: "b\\nc"}'


class TestValues:
    def test_a_line_for_each_field(self) -> None:
        value = parse_expression(
            Source("x", '{a: 1, foo: {b: [1, 2], c: {}, ...}, bar: "x", d: [{e: 1}]}')
        )
        assert f"{format_value(value)}\n" == block("""
            a: 1
            foo: {
            →b: [1, 2]
            →c: {}
            →...
            }
            bar: "x"
            d: [
            →{
            →→e: 1
            →},
            ]
            """)

    def test_what_is_no_struct_stands_alone(self) -> None:
        assert format_value(parse_expression(Source("x", '[1, "a"]'))) == '[1, "a"]'

    def test_a_long_list_has_a_line_for_each_element(self) -> None:
        value = parse_expression(Source("x", f"[{', '.join(['1000'] * 21)}]"))
        assert format_value(value).count("\n\t1000,") == 21


class TestSameTree:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a: 1_000", "a: 1000"),
            ('a: "\\u0041"', 'a: """\n  A\n  """'),
            ("a: {b: 1}\n", "// x\na: { b: 1, }"),
            ('import "a"\nimport "b"', 'import ("b", "a")'),
        ],
    )
    def test_what_says_the_same(self, one: str, other: str) -> None:
        assert same_tree(parsed(one), parsed(other))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a: 1", "a: 2"),
            ("a: 1", "a?: 1"),
            ("a: 1.50", "a: 1.5"),
            ("a: 1", "a: 1."),
            ("a: true", "a: 1"),
            ('a: "b"', "a: 'b'"),
            ('"a": 1', "a: 1"),
            ("a: b: 1", "a: {b: 1}"),
            ("a: 1", "a: 1, b: 2"),
            ("a: (1)", "a: 1"),
            ("a: 1 @b()", "a: 1 @c()"),
            ("package a", "package b"),
            ('import "a"', 'import b "a"'),
        ],
    )
    def test_what_does_not(self, one: str, other: str) -> None:
        assert not same_tree(parsed(one), parsed(other))
