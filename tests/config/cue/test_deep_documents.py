"""Documents of any depth are evaluated, wherever they are and whatever stack there is."""

import ast
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import connect
from connect.config.cue import (
    Budget,
    CueError,
    Fault,
    FaultKind,
    Source,
    Value,
    compile_document,
    compile_package,
)
from connect.config.cue.ast import Embedding
from connect.config.cue.formatter import expression_text, format_file
from connect.config.cue.parser import MAX_DEPTH, parse
from connect.config.cue.trees import same_tree
from tests.config.cue.deep import CHAINED, NESTED, Deep
from tests.config.cue.frames import with_frames_left

LEFT = 500
"""Frames that a caller leaves which is hundreds of them deep itself."""

CHAIN = 80
"""Fields of a chain that take more frames than that, and not many seconds."""

LARGE = Budget(depth=5000, steps=5_000_000)
FAR = 1200
"""Levels beyond the usual budget of depth, and beyond Python's limit on recursion."""

MULTIPLY = {"lets", "and in and", "or in or"}
"""Kinds whose values multiply from level to level: so deep, they take more steps than allowed."""

LONG = ("sums", "lets", "lets of structs", "selections of a sum", "comparisons", "absences")
"""Chains that take no more steps than they have fields."""


@pytest.fixture(autouse=True)
def _unchanged_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(limit: int) -> None:
        raise AssertionError(f"the recursion limit is set to {limit}")

    before = sys.getrecursionlimit()
    monkeypatch.setattr(sys, "setrecursionlimit", refuse)
    yield
    assert sys.getrecursionlimit() == before


def told(text: str, budget: Budget | None = None, depth: int = MAX_DEPTH) -> tuple[Fault, ...]:
    """Read, evaluate, write and export a document; return its faults."""
    try:
        file = parse(Source("x", text), depth=depth)
        value = compile_document(file, budget=budget)
        found = value.faults()
        value.text()
        if not found:
            value.export()
    except CueError as error:
        found = error.faults
    return found


def messages(text: str) -> list[str]:
    return [fault.message for fault in told(text)]


def starved(texts: list[str]) -> list[str]:
    """Return the messages that speak of the stack, or of too much nesting for the parser."""
    return [text for text in texts if "stack" in text or "too deeply" in text]


@pytest.mark.parametrize("deep", NESTED.values(), ids=NESTED)
def test_a_document_may_be_nested_as_deep_as_allowed(deep: Deep) -> None:
    text = deep(MAX_DEPTH)
    expected = messages(text)
    assert not starved(expected)
    assert with_frames_left(LEFT, lambda: messages(text)) == expected


@pytest.mark.parametrize("deep", CHAINED.values(), ids=CHAINED)
def test_a_chain_may_be_longer_than_the_stack(deep: Deep) -> None:
    text = deep(CHAIN)
    assert not starved(with_frames_left(LEFT, lambda: messages(text)))


def test_a_struct_may_be_closed_by_a_chain_longer_than_the_stack() -> None:
    # A level takes two frames at least.
    text = CHAINED["definitions that only embed"](LEFT * 3 // 5)
    assert with_frames_left(LEFT, lambda: told(text, LARGE)) == ()


@pytest.mark.parametrize("kind", sorted(NESTED.keys() - MULTIPLY))
def test_a_larger_budget_allows_for_deeper_nesting(kind: str) -> None:
    text = NESTED[kind](FAR)
    found = with_frames_left(LEFT, lambda: told(text, LARGE, 2 * FAR))
    assert FaultKind.BUDGET not in {fault.kind for fault in found}


@pytest.mark.parametrize("kind", LONG)
def test_a_larger_budget_allows_for_longer_chains(kind: str) -> None:
    text = CHAINED[kind](4 * FAR)
    found = with_frames_left(LEFT, lambda: told(text, LARGE))
    assert FaultKind.BUDGET not in {fault.kind for fault in found}


def test_two_threads_evaluate_deep_documents_at_once() -> None:
    kinds = [NESTED[kind](MAX_DEPTH // 2) for kind in sorted(NESTED.keys() - MULTIPLY)]
    expected = [messages(text) for text in kinds]
    found: list[list[list[str]]] = []

    def work() -> None:
        found.append(with_frames_left(LEFT, lambda: [messages(text) for text in kinds]))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected, expected]


@pytest.mark.parametrize("deep", NESTED.values(), ids=NESTED)
def test_a_deep_document_is_formatted(deep: Deep) -> None:
    file = parse(Source("x", deep(MAX_DEPTH)))
    text = with_frames_left(LEFT, lambda: format_file(file))
    assert same_tree(parse(Source("x", text)), file)


def test_a_deep_expression_is_written_on_one_line() -> None:
    depth = 10 * sys.getrecursionlimit()
    file = parse(Source("x", "(" * depth + "1" + ")" * depth), depth=depth)
    (embedding,) = file.body.declarations
    assert isinstance(embedding, Embedding)
    assert expression_text(embedding.value).count("(") == depth


def parts(value: Value, label: str) -> Value:
    """Return the innermost field of a label, each taken from the one around it."""
    while (inner := value.lookup(label)) is not None:
        value = inner
    return value


def test_a_part_from_deep_below_is_unified() -> None:
    value = compile_document(Source("x", "a: " * 150 + "int"), budget=LARGE)
    one = compile_document(Source("x", "a: 1")).lookup("a")
    assert one is not None
    part = parts(value, "a")
    assert with_frames_left(LEFT, lambda: part.unify(one).export()) == 1


def test_a_value_is_unified_with_many() -> None:
    value = compile_document(Source("x", "a: int"))
    for index in range(600):
        value = value.unify(compile_document(Source("x", f"b{index}: 1")))
    exported = with_frames_left(LEFT, value.unify(compile_document(Source("x", "a: 1"))).export)
    assert len(exported) == 601


def test_packages_may_import_each_other_in_a_long_chain() -> None:
    packages = {"x.com/p0": compile_package(Source("p0", "a: 1"), "x.com/p0")}
    for index in range(1, LEFT):
        source = Source(f"p{index}", f'import "x.com/p{index - 1}"\na: p{index - 1}.a')
        path = f"x.com/p{index}"
        packages = {path: compile_package(source, path, packages=packages)}
    value = compile_document(packages[f"x.com/p{LEFT - 1}"], budget=LARGE)
    assert with_frames_left(LEFT, value.export) == {"a": 1}


def test_a_deep_value_is_redacted_by_what_evaluates_another() -> None:
    text = "a: " * 150 + '"x" & "y"'
    other = compile_document(Source("y", "[string]: secret: bool\n" + "a: " * 150 + "int"))

    def redact(path: tuple[str | int, ...]) -> bool:
        return len(path) == 150 and not other.faults(concrete=False)

    value = compile_document(Source("x", text), redact=redact)
    (fault,) = with_frames_left(LEFT, value.faults)
    assert fault.message == "conflicting values … and …"


def test_many_reasons_in_one_another_are_told_to_some_depth() -> None:
    text = CHAINED["disjunctions that fail"](60)
    assert max(len(message) for message in messages(text)) < 100_000


def test_what_the_caller_leaves_no_stack_for_is_over_budget() -> None:
    value = compile_document(Source("x", NESTED["sums"](100)))
    (fault,) = with_frames_left(60, value.faults)
    assert (fault.kind, fault.path) == (FaultKind.BUDGET, ("a",))
    assert fault.message == (
        "the evaluation is started too deep within other calls:"
        " Python's stack has no room left for it"
    )
    assert str(fault.spans[0]).startswith("x:1:")


def test_what_the_caller_leaves_no_stack_for_is_not_compiled() -> None:
    file = parse(Source("x", "a: b: " + "(1+" * 100 + "1" + ")" * 100))
    with pytest.raises(CueError) as caught:
        with_frames_left(60, lambda: compile_document(file))
    (fault,) = caught.value.faults
    assert (fault.kind, fault.path) == (FaultKind.BUDGET, ("a", "b"))
    assert fault.message == "nested more deeply than the caller has left room for on Python's stack"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, MemoryError])
def test_an_interruption_deep_inside_arrives(interrupt: type[BaseException]) -> None:
    def redact(path: tuple[str | int, ...]) -> bool:
        raise interrupt

    value = compile_document(Source("x", CHAINED["sums"](100) + ' & "x"'), redact=redact)
    with pytest.raises(interrupt):
        value.faults()


def test_no_module_sets_the_recursion_limit() -> None:
    setters = [
        path.name
        for path in Path(connect.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if "setrecursionlimit"
        in (getattr(node, field, None) for field in ("attr", "name", "value"))
    ]
    assert setters == []
