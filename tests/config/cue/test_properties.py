"""What holds of any values: the laws of unification, and of exporting."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from connect.config.cue import CueError, Source, compile_document
from connect.config.cue.jsontext import to_json

LABELS = ("a", "b", "c")

atoms = st.sampled_from(("1", "2", "1.5", '"x"', '"y"', "true", "null", "'z'"))
constraints = st.sampled_from(
    ("int", "number", "string", "_", ">0", "<2", ">=1", "!=2", '!="x"', '=~"^x"', "uint8", "bool")
)


def structs(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    fields = st.dictionaries(st.sampled_from((*LABELS, "b?", "#d", "_e")), values, max_size=3)
    return fields.map(
        lambda items: "{" + ", ".join(f"{label}: {value}" for label, value in items.items()) + "}"
    )


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(values, max_size=3)
    tails = st.sampled_from(((), ("...",), ("...int",)))
    return st.tuples(items, tails).map(lambda parts: f"[{', '.join([*parts[0], *parts[1]])}]")


def disjunctions(
    values: st.SearchStrategy[str], marks: st.SearchStrategy[str]
) -> st.SearchStrategy[str]:
    disjuncts = st.lists(values, min_size=2, max_size=3)
    return st.tuples(marks, disjuncts).map(lambda parts: f"({parts[0]}{' | '.join(parts[1])})")


def closed(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return structs(values).map(lambda text: f"close({text})")


def values(marks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return structs(inner) | lists(inner) | disjunctions(inner, marks) | closed(inner)

    return st.recursive(atoms | constraints, deeper, max_leaves=6)


expressions = values(marks=st.sampled_from(("", "*")))
unmarked = values(marks=st.just(""))


def outcome(expression: str) -> str:
    """Return what an expression becomes: JSON, its kind of refusal, fields sorted."""
    value = compile_document(Source("x", f"a: {expression}"))
    try:
        data = json.loads(to_json(value.export()))
    except CueError:
        return "incomplete" if not value.faults(concrete=False) else "wrong"
    return json.dumps(data, sort_keys=True)


@settings(deadline=None)
@given(expressions, expressions)
def test_unification_is_commutative(left: str, right: str) -> None:
    assert outcome(f"{left} & {right}") == outcome(f"{right} & {left}")


@settings(deadline=None)
@given(expressions, expressions, expressions)
def test_unification_is_associative(first: str, second: str, third: str) -> None:
    assert outcome(f"({first} & {second}) & {third}") == outcome(f"{first} & ({second} & {third})")


@settings(deadline=None)
@given(unmarked)
def test_unification_is_idempotent(expression: str) -> None:
    """As of v0.4.2, defaults of disjunctions in disjunctions are not."""
    assert outcome(f"{expression} & {expression}") == outcome(expression)


@settings(deadline=None)
@given(expressions)
def test_top_changes_nothing(expression: str) -> None:
    assert outcome(f"{expression} & _") == outcome(expression)


@settings(deadline=None)
@given(expressions)
def test_bottom_is_what_everything_conflicts_with(expression: str) -> None:
    assert outcome(f"{expression} & _|_") == "wrong"


@settings(deadline=None)
@given(expressions, expressions)
def test_a_reference_is_what_it_refers_to(left: str, right: str) -> None:
    text = f"_l: {left}\n_r: {right}\na: _l & _r"
    value = compile_document(Source("x", text)).lookup("a")
    assert value is not None
    try:
        data = json.dumps(json.loads(to_json({"a": value.export()})), sort_keys=True)
    except CueError:
        data = "incomplete" if not value.faults(concrete=False) else "wrong"
    assert data == outcome(f"{left} & {right}")


@settings(deadline=None)
@given(expressions)
def test_what_is_exported_evaluates_to_itself(expression: str) -> None:
    value = compile_document(Source("x", f"a: {expression}"))
    try:
        first = to_json(value.export())
    except CueError:
        return
    assert to_json(compile_document(Source("x", first)).export()) == first


@settings(deadline=None)
@given(expressions)
def test_a_value_written_as_cue_means_the_same(expression: str) -> None:
    value = compile_document(Source("x", f"a: {expression}"))
    try:
        first = to_json(value.export())
    except CueError:
        return
    assert to_json(compile_document(Source("x", value.text())).export()) == first
