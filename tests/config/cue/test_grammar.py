"""The grammar of expressions and declarations."""

import pytest

from connect.config.cue.ast import Binary, Comprehension, Expr, Field, PatternLabel, Unary
from connect.config.cue.parser import parse_expression
from connect.config.cue.source import Source
from connect.config.cue.writer import expression_text
from tests.config.cue.reading import again, declarations, faults


def shape(text: str) -> str:
    """Return an expression with every operator in parentheses of its own."""

    def grouped(expr: Expr) -> str:
        match expr:
            case Binary(operator=operator, left=left, right=right):
                return f"({grouped(left)} {operator} {grouped(right)})"
            case Unary(operator=operator, operand=operand):
                return f"({operator}{grouped(operand)})"
            case _:
                return expression_text(expr)

    return grouped(parse_expression(Source("x", text)))


class TestPrecedence:
    @pytest.mark.parametrize(
        ("text", "grouped"),
        [
            ("1 + 2 * 3", "(1 + (2 * 3))"),
            ("1 * 2 + 3", "((1 * 2) + 3)"),
            ("1 - 2 - 3", "((1 - 2) - 3)"),
            ("1 + 2 == 3 && a || b", "((((1 + 2) == 3) && a) || b)"),
            ("a | b & c | d", "((a | (b & c)) | d)"),
            ("a & b || c && d == e + f * g", "(a & (b || (c && (d == (e + (f * g))))))"),
            ("a * b + c == d && e || f & g | h", "(((((((a * b) + c) == d) && e) || f) & g) | h)"),
            ("1 < 2 == true", "((1 < 2) == true)"),
            ("7 div 2 * 3 mod 4", "(((7 div 2) * 3) mod 4)"),
            ("a quo b rem c", "((a quo b) rem c)"),
            ('a =~ "x" && b !~ "y"', '((a =~ "x") && (b !~ "y"))'),
            ("-1 + 2", "((-1) + 2)"),
            (">1 & <3", "((>1) & (<3))"),
            (">=1 + 2", "((>=1) + 2)"),
            ("*1 | int", "((*1) | int)"),
            ("!a.b", "(!a.b)"),
            ("!-+a", "(!(-(+a)))"),
            ("- -1", "(-(-1))"),
            ("!=1", "(!=1)"),
            ('=~"a" & !~"b"', '((=~"a") & (!~"b"))'),
            ("(1 + 2) * 3", "((1 + 2) * 3)"),
        ],
    )
    def test_operators(self, text: str, grouped: str) -> None:
        assert shape(text) == grouped

    @pytest.mark.parametrize("text", ["==1", "&a", "| a", "a &", "a & & b", "* "])
    def test_an_operator_needs_its_operands(self, text: str) -> None:
        assert "expected a value" in faults(f"a: {text}")[0]

    @pytest.mark.parametrize(
        "text", ["*1", "*1 & 2", "1 + *2 | 3", "(*1)", "[*1]", "!*1 | 2", "2 * *1"]
    )
    def test_a_default_mark_stands_only_in_a_disjunction(self, text: str) -> None:
        assert faults(f"a: {text}")[0].endswith(
            "the default mark * stands only in a disjunction, such as *1 | int"
        )


class TestOperands:
    @pytest.mark.parametrize(
        "text",
        [
            "a.b.c",
            'a."b-c".#d._e',
            "a[0].b",
            'a["b"]',
            "a[1:2]",
            "a[:]",
            "a[1:]",
            "a[:n - 1]",
            "f()",
            "f(1, [2], {a: 3})",
            "f(a)(b).c[d]",
            "{a: 1}.a",
            "[1, 2][0]",
            '"a".b',
            "a.div.package.import",
            "[]",
            "[1, ...]",
            "[...]",
            "[...int]",
            "[1, ...>2 & <3]",
            "[for x in y {x}, 2, if z {3}]",
            "{}",
            "((a))",
            "_",
            "_|_",
            "null",
            '"a \\(b + "\\(c)") d"',
            "'a \\(b)\\xff'",
        ],
    )
    def test_they_are_understood_as_written(self, text: str) -> None:
        expression = parse_expression(Source("x", text))
        assert expression_text(expression).replace("n-1", "n - 1") == text
        assert (expression.span.start, expression.span.end) == (0, len(text))

    @pytest.mark.parametrize(
        ("text", "same"),
        [
            ("f(1,)", "f(1)"),
            ("f(\n1,\n2,\n)", "f(1, 2)"),
            ("f(\n1\n)", "f(1)"),
            ("[1, 2,]", "[1, 2]"),
            ("[\n1,\n2\n]", "[1, 2]"),
            ("[\n1\n,2]", "[1, 2]"),
            ("[1, ...\n]", "[1, ...]"),
            ("[...int,]", "[...int]"),
            ("a.\nb", "a.b"),
            ("(\n1)", "(1)"),
            ("a[\n0]", "a[0]"),
            ("f (1)", "f(1)"),
            ("[if, for]", "[if, for]"),
        ],
    )
    def test_line_breaks_and_last_commas_do_not_matter(self, text: str, same: str) -> None:
        assert expression_text(parse_expression(Source("x", text))) == same

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "a: b.",
                '1:6: expected a selector such as .name or ."a name"'
                ", found the end of the document",
            ),
            ("a: b.1", "1:5: expected a comma or a new line, found .1"),
            (
                "a: b.for",
                '1:6: expected a selector (write ."for" for this one), found the name for',
            ),
            ('a: b.#"c"#', '1:6: expected a selector such as .name or ."a name", found #"c"#'),
            ("a: b.'c'", "1:6: expected a selector such as .name or .\"a name\", found 'c'"),
            ("a: b[]", "1:6: expected a value, found ']'"),
            ("a: b[1, 2]", "1:7: expected ']', found ','"),
            ("a: b[1:2:3]", "1:9: expected ']', found ':'"),
            ("a: b[1\n]", "1:7: expected ']', found the end of the line"),
            ("a: f(1 2)", "1:8: expected ',' or ')' behind an argument, found 2"),
            ("a: f(1\n2)", "1:7: missing ',' behind an argument: the line ends without"),
            ("a: f(,)", "1:6: expected a value, found ','"),
            ("a: f(...)", "1:6: expected a value, found '...'"),
            ("a: [1 2]", "1:7: expected ',' or ']' behind an element, found 2"),
            ("a: [1\n2]", "1:6: missing ',' behind an element: the line ends without"),
            ("a: [,]", "1:5: expected a value, found ','"),
            (
                "a: [..., 1]",
                "1:10: expected ']': an ellipsis is the last element of a list, found 1",
            ),
            ("a: [b=1]", "1:5: an element of a list cannot have an alias"),
            ("a: ()", "1:5: expected a value, found ')'"),
            ("a: (1, 2)", "1:6: expected ')', found ','"),
            ("a: (1\n)", "1:6: expected ')', found the end of the line"),
            ("a: __b", "1:4: names that begin with __ are reserved"),
            ("a: ...", "1:4: expected a value, found '...'"),
            ("a: @b()", "1:4: expected a value, found an attribute"),
            ("a: b=(c=1)", "1:8: expected ')', found '='"),
            ("a: (b)=1", "1:7: expected no alias here: only a name can be one, found '='"),
        ],
    )
    def test_what_is_wrong_is_told(self, text: str, message: str) -> None:
        assert faults(text)[0] == message


class TestFields:
    @pytest.mark.parametrize(
        "text",
        [
            "a: 1",
            "a?: 1",
            "_a: 1, #b: 2, _#c: 3, $: 4",
            '"a b": 1, "_c": 2',
            "a: b: c: 1",
            "a?: b?: 1",
            'a: "b": [string]: (c): 1',
            "X=a: 1",
            'X="a": 1',
            "X=(a): 1",
            "X=[string]: 1",
            "a: X={b: X.c}",
            "a: X=b: 1",
            "[string]: int",
            "[X=string]: {name: X}",
            '[=~"^a" | "b"]: int',
            '"a\\(b)": 1',
            '("a" + b): 1',
            "true: 1, null: 2, for: 3, if: 4, let: 5, in: 6, div: 7",
            "for?: 1, if: a: 2",
            "a: 1 @b(c) @d()",
            "a: b: 1 @c()",
            "a: {b: 1}, c",
            "{a: 1}, [1], (b), c.d, -1, a & b",
            "..., a: 1, ...",
            "@a(b), c: 1",
            "let a = 1",
            "let, for, if",
        ],
    )
    def test_they_are_understood_as_written(self, text: str) -> None:
        assert again(text) == text

    @pytest.mark.parametrize(
        ("text", "same"),
        [
            ("a:\n\n1", "a: 1"),
            ("a\n: 1", "a: 1"),
            ("a:\nb:\nc", "a: b: c"),
            ("X=\na: 1", "X=a: 1"),
            ("{\n\n\n}", "{}"),
            ("a: {b: 1,\n}", "a: {b: 1}"),
            ("a: {b: 1\n, c: 2}", "a: {b: 1, c: 2}"),
            ("let a =\n1", "let a = 1"),
            ('#"a"#: 1', '"a": 1'),
            ('"""\n  a\n  """: 1', '"a": 1'),
            ("'a': 1", '"a": 1'),
            ('("\\(a)"): 1', '"\\(a)": 1'),
        ],
    )
    def test_other_ways_to_write_the_same(self, text: str, same: str) -> None:
        assert again(text) == same

    def test_attributes_belong_to_the_innermost_field(self) -> None:
        (outer,) = declarations("a: b: 1 @c()")
        assert isinstance(outer, Field)
        assert outer.attributes == ()
        assert outer.value.span.text == "b: 1 @c()"

    @pytest.mark.parametrize(("text", "nested"), [("a: b: 1", True), ("a: {b: 1}", False)])
    def test_a_struct_without_braces_is_marked(self, text: str, nested: bool) -> None:
        (field,) = declarations(text)
        assert isinstance(field, Field)
        assert field.nested is nested

    def test_a_pattern_keeps_its_alias(self) -> None:
        (field,) = declarations("[Name=string]: 1")
        assert isinstance(field, Field)
        assert isinstance(field.label, PatternLabel)
        assert field.label.alias is not None
        assert field.label.alias.name == "Name"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1: 2", '1:1: a number cannot be a label; write "1" for a name'),
            ("_: 1", "1:1: _ cannot be a label"),
            ("_|_: 1", "1:1: _|_ cannot be a label"),
            ("__a: 1", "1:1: names that begin with __ are reserved"),
            (
                "a.b: 1",
                "1:1: no label: expected a name, a string, (expression) or [pattern] before ':'",
            ),
            ("[a, b]: 1", "1:1: a pattern in brackets is exactly one value"),
            ("[...]: 1", "1:1: a pattern in brackets is exactly one value"),
            ("[for x in y {x}]: 1", "1:1: a pattern in brackets is exactly one value"),
            (
                "a!: 1",
                "1:2: expected a comma or a new line (a field cannot be marked as"
                " required), found '!'",
            ),
            ("a:: 1", "1:3: expected a value (a definition is written #name: value), found ':'"),
            ("a? 1", "1:4: expected ':' behind the optional field, found 1"),
            ("a b: 1", "1:3: expected a comma or a new line, found the name b"),
            ("a: 1 b: 2", "1:6: expected a comma or a new line, found the name b"),
            ("a: 1,, b: 2", "1:6: expected a field or a value to embed, found ','"),
            ("A = 1", "1:1: an alias cannot stand alone; write let A = ..."),
            (
                "a: {...int}",
                "1:8: expected a comma or a new line: an ellipsis in a struct takes"
                " no value, found the name int",
            ),
            ("let a: 1", "1:6: expected '=', found ':'"),
            ('let "a" = 1', '1:5: expected the name that let declares, found "a"'),
            ("@a() b: 1", "1:6: expected a comma or a new line, found the name b"),
            (
                "# note",
                "1:3: expected a comma or a new line (comments begin with //), found the name note",
            ),
            ("a: 1 }", "1:6: '}' closes nothing"),
        ],
    )
    def test_what_is_wrong_is_told(self, text: str, message: str) -> None:
        assert faults(text)[0] == message


class TestComprehensions:
    @pytest.mark.parametrize(
        "text",
        [
            "for x in y {x}",
            "for k, v in y {(k): v}",
            "for _, v in y {v}",
            "if a == {b: 1} {c: 1}",
            "if {a: true}.a {b: 1}",
            "for x in y for z in x if z > 1 let w = z {w}",
            "if a if b {c: 1}",
        ],
    )
    def test_they_are_understood_as_written(self, text: str) -> None:
        (comprehension,) = declarations(text)
        assert isinstance(comprehension, Comprehension)
        assert again(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "for x in y, if x {z}",
            "for x in y\nif x\n{z}",
            "for x in y, if x, {z}",
        ],
    )
    def test_clauses_may_be_separated(self, text: str) -> None:
        assert again(text) == "for x in y if x {z}"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("for x of y {}", "1:7: expected 'in', found the name of"),
            ("for 1 in y {}", "1:5: expected the name of an element, found 1"),
            ("for x, in y {}", "1:8: expected the name of an element, found the name in"),
            ("if a b: 1", "1:6: expected '{' or another clause, found the name b"),
            (
                "if a {b: 1} else {c: 1}",
                "1:13: expected a comma or a new line, found the name else",
            ),
            ("for x in y {} & {}", "1:15: expected a comma or a new line, found '&'"),
            ("a: if b {c: 1}", "1:7: expected a comma or a new line, found the name b"),
            ("f(for x in y {z})", "1:7: expected ',' or ')' behind an argument, found the name x"),
        ],
    )
    def test_what_is_wrong_is_told(self, text: str, message: str) -> None:
        assert faults(text)[0] == message
