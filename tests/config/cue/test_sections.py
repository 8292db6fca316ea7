"""Where rules come from: grammar rules in the parser, sections of the specification elsewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import connect.config.cue

FOLDER = Path(connect.config.cue.__file__).parent

# The headings of the specification of CUE that rules come from.
SECTIONS = {
    section.casefold()
    for section in """
        Source code representation; Comments; Tokens; Commas; Identifiers; Keywords
        Numeric literals; String and byte sequence literals
        Values; Unification; Disjunction; Default values; Bottom and errors; Top; Null
        Boolean values; Numeric values; Strings; Bytes; Bounds; Lists
        Structs; Field constraints; Dynamic fields; Pattern and default constraints
        Closed structs; Embedding; Definitions and hidden fields; Attributes; Aliases
        Let declarations; Shorthand notation for nested structs
        Blocks; Declarations and scope; Predeclared identifiers; Exported identifiers
        Expressions; Operands; Qualified identifiers; References; Primary expressions
        Selectors; Index expressions; Operators; Operator precedence; Arithmetic operators
        String operators; Comparison operators; Logical operators
        Calls; Comprehensions; String interpolation; Builtin functions
        Cycles; Reference cycles; Structural cycles
        Modules, instances, and packages; Package clause; Import declarations
    """.replace("\n", ";").split(";")
    for section in [section.strip()]
    if section
}

# In these, every function is a rule unless it is a private one of a few lines.
RULES = [
    "bounds", "calls", "closedness", "comprehensions", "conjuncts", "constraints",
    "disjunction", "equality", "evaluation", "lists", "operators", "patterns", "references",
    "unify",
]  # fmt: skip
FEW_LINES = 6
NO_RULES = {
    "CloseTree._entry": "finds the node of a tree",
    "_later": "defers a look-up in a class",
    "_in_order": "puts the places of a message in order",
}
# In these, every class is something that the specification speaks of.
VALUES = ("environment", "lattice", "vertex")
NO_VALUES = {
    "Nearest": "a piece of a message",
    "Status": "how far the evaluator is",
}

NODES = {"Expr", "Declaration", "Label", "Clause"} | {
    node.name
    for node in ast.parse((FOLDER / "ast.py").read_text("utf-8")).body
    if isinstance(node, ast.ClassDef)
}
# They return nodes, or read tokens, and are no production by themselves.
NO_PRODUCTIONS = {
    "chain": "puts fields into one another that `field` has read",
    "parts": "decodes the texts that `interpolation` has read",
}
PRODUCTION = re.compile(r"\w+ = .+?\s\.(\s|$)", re.DOTALL)
NAMED = re.compile(r'\("([A-Z][^"]*)"((?:(?:,| and) "[^"]*")*)[^()]*\)')

Definition = ast.FunctionDef | ast.ClassDef


def definitions(module: str) -> Iterator[tuple[str, Definition]]:
    """Yield the classes and functions of a module with their qualified names."""

    def below(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Definition]]:
        for node in body:
            if isinstance(node, Definition):
                yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from below(node.body, f"{node.name}.")

    yield from below(ast.parse((FOLDER / f"{module}.py").read_text("utf-8")).body, "")


def sections(text: str) -> list[str]:
    """Return the sections that a docstring names."""
    joined = " ".join(text.split())
    return [
        name
        for first, others in NAMED.findall(joined)
        for name in (first, *re.findall(r'"([^"]*)"', others))
    ]


def lines(node: Definition) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("module", RULES)
def test_every_rule_of_the_evaluator_names_a_section(module: str) -> None:
    nameless = [
        name
        for name, node in definitions(module)
        if not node.name.startswith("__")
        and name not in NO_RULES
        and not (node.name.startswith("_") and lines(node) <= FEW_LINES)
        and not sections(ast.get_docstring(node) or "")
    ]
    assert nameless == []


@pytest.mark.parametrize("module", VALUES)
def test_every_kind_of_value_names_a_section(module: str) -> None:
    nameless = [
        name
        for name, node in definitions(module)
        if isinstance(node, ast.ClassDef)
        and name not in NO_VALUES
        and not sections(ast.get_docstring(node) or "")
    ]
    assert nameless == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_only_sections_of_the_specification_are_named(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    documented = [tree, *(node for _, node in definitions(path.stem))]
    named = {name for node in documented for name in sections(ast.get_docstring(node) or "")}
    assert {name for name in named if name.casefold() not in SECTIONS} == set()


def test_every_exception_is_needed() -> None:
    names = {name for module in (*RULES, *VALUES) for name, _ in definitions(module)}
    assert (NO_RULES.keys() | NO_VALUES.keys()) <= names


def reads(node: ast.FunctionDef) -> bool:
    """Tell whether a method of the parser returns nodes, or adds them to a list."""
    annotations = [node.returns, *(argument.annotation for argument in node.args.args)]
    texts = [ast.unparse(annotation) for annotation in annotations if annotation is not None]
    returned = set(re.findall(r"\w+", texts[0])) if texts else set()
    return bool(returned & NODES) or any(text.startswith("list[Declaration") for text in texts)


@pytest.mark.parametrize(
    ("module", "parser"), [("parser", "_Parser"), ("expressions", "ExpressionParser")]
)
def test_every_method_of_the_parser_has_its_production(module: str, parser: str) -> None:
    productions = [
        node
        for name, node in definitions(module)
        if name.startswith(f"{parser}.") and isinstance(node, ast.FunctionDef) and reads(node)
    ]
    assert len(productions) > 10
    missing = [
        node.name
        for node in productions
        if node.name not in NO_PRODUCTIONS
        and not PRODUCTION.match(" ".join((ast.get_docstring(node) or "").split()))
    ]
    assert missing == []
