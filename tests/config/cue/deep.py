"""Documents that go deep, of every kind of nesting and of chains of every kind."""

from collections.abc import Callable

__all__ = ["CHAINED", "NESTED"]

Deep = Callable[[int], str]
"""Takes the number of levels, returns a document."""


def _nested(opening: str, innermost: str, closing: str, *, each: int = 1, after: str = "") -> Deep:
    """Nest an expression in a field `a`; `each` is the levels that one repetition counts for."""

    def text(levels: int) -> str:
        times = (levels - 1) // each
        return f"a: {opening * times}{innermost}{closing * times}\n{after}"

    return text


def _chained(line: str, last: str, head: str = "") -> Deep:
    """Chain fields: in the line, I stands for a field's number and J for that of the next."""

    def text(levels: int) -> str:
        lines = [
            line.replace("I", str(index)).replace("J", str(index + 1)) for index in range(levels)
        ]
        return "\n".join([head, *lines, last.replace("I", str(levels))])

    return text


NESTED: dict[str, Deep] = {
    "lists": _nested("[", "1", "]"),
    "open lists": _nested("[...", "int", "]"),
    "lists with types": _nested("[int, ...", "int", "]"),
    "structs": _nested("{b: ", "1", "}", each=2),
    "labels": _nested("a: ", "1", ""),
    "definitions": _nested("#a: ", "1", ""),
    "hidden fields": _nested("_a: ", "1", ""),
    "optional fields": _nested("{b?: ", "int", "}", each=2),
    "patterns": _nested("[string]: ", "int", ""),
    "patterns that apply": lambda levels: (
        "a: " + "[string]: " * (levels - 1) + "int\na: " + "b: " * (levels - 1) + "1"
    ),
    "patterns in patterns": _nested("{[", '"x"', "]: 1}", each=2),
    "alternatives in a pattern": lambda levels: (
        "a: {[" + '("x" | ' * (levels - 3) + '"y"' + ")" * (levels - 3) + "]: 1, y: 1}"
    ),
    "computed labels": _nested('{("b"): ', "1", "}", each=2),
    "computed labels in computed labels": _nested("{(", '"x"', '): "x"}.x', each=3),
    "aliases of values": _nested("{b: X={c: X.d, d: 1, e: ", "1", "}}", each=4),
    "aliases of labels": _nested('{X="b": 1, c: X, e: ', "1", "}", each=2),
    "lets": _nested("{let x = b, c: x, b: ", "1", "}", each=2),
    "ellipses": _nested("{..., b: ", "1", "}", each=2),
    "embedded structs": _nested("{", "b: 1", "}"),
    "embedded values": _nested("{", "1", "}"),
    "embedded lists": _nested("{[", "1", "]}", each=2),
    "parentheses": _nested("(", "1", ")"),
    "signs": _nested("-", "1", ""),
    "negations": _nested("!", "true", ""),
    "bounds": _nested("<", "1", ""),
    "sums": _nested("(1 + ", "1", ")"),
    "comparisons": _nested("(true == ", "true", ")"),
    "structs in sums": _nested("{b: 1 + ", "1", "}.b", each=2),
    "selectors": lambda levels: f"a: b{'.b' * (levels - 1)}\nb: {{b: b}}",
    "selectors of what there is": lambda levels: (
        f"a: {'b: ' * (levels - 2)}1\nc: a{'.b' * (levels - 2)}"
    ),
    "indexes in a row": lambda levels: (
        f"a: {'[' * (levels - 2)}1{']' * (levels - 2)}{'[0]' * (levels - 2)}"
    ),
    "indexes in indexes": _nested("b[", "0", "]", after="b: [0]"),
    "slices in slices": _nested("b[:len(", "b", ")]", each=2, after="b: [0]"),
    "calls in a row": lambda levels: f"a: len{'(1)' * (levels - 2)}",
    "calls in calls": _nested("len([", "1", "])", each=2),
    "and in and": _nested("and([", "1", "])", each=2),
    "or in or": _nested("or([", "1", "])", each=2),
    "close in close": _nested("close({b: ", "1", "})", each=3),
    "validators in validators": lambda levels: (
        'import "list"\na: ' + "list.MaxItems(len([" * (levels // 3) + "1" + "]))" * (levels // 3)
    ),
    "interpolations": _nested('"x\\(', "1", ')"'),
    "comprehensions of a condition": _nested("{if true ", "{b: 1}", "}"),
    "comprehensions of loops": _nested("{for x in [1] ", "{b: x}", "}"),
    "comprehensions in lists": _nested("[for x in [1] {", "1", "}]", each=2),
    "comprehensions over comprehensions": _nested("[for x in ", "[1]", " {x}]"),
    "comprehensions with lets": _nested("{for x in [1] let y = x {b: y, c: ", "1", "}}", each=3),
    "conditions in conditions": _nested("{if ", "true", " {true}}", each=1),
    "disjunctions": _nested("(1 | ", "2", ")"),
    "disjunctions with defaults": _nested("(*1 | ", "2", ")"),
    "disjunctions of structs": _nested("({b: 1} | ", "{b: 2}", ")"),
    "disjunctions in fields": _nested("{b: *1 | ", "2", "}", each=2),
    "disjunctions in lists": _nested("[1 | ", "2", "]"),
    "disjunctions that fail": lambda levels: (
        "a: " + "(1 | " * (levels - 1) + "2" + ")" * (levels - 1) + ' & "x"'
    ),
    "conjunctions": _nested("(_ & ", "1", ")"),
    "conjunctions of structs": _nested("({b: 1} & ", "{c: 1}", ")", each=2),
    "conjunctions in fields": _nested("{b: _ & ", "1", "}", each=2),
    "conjunctions of lists": lambda levels: (
        "a: " + "[" * (levels - 1) + "1" + "]" * (levels - 1)
        + " & " + "[" * (levels - 1) + "int" + "]" * (levels - 1)
    ),
    "comparisons of lists": lambda levels: (
        "a: b == c\n" + "".join(
            f"{name}: {'[' * (levels - 2)}1{']' * (levels - 2)}\n" for name in "bc"
        )
    ),
    "equal lists": lambda levels: (
        "a: *b | c\n" + "".join(
            f"{name}: {'[' * (levels - 3)}1{']' * (levels - 3)}\n" for name in "bc"
        )
    ),
    "unique items": lambda levels: (
        'import "list"\na: b & list.UniqueItems()\nb: ['
        + f"{'[' * (levels - 3)}1{']' * (levels - 3)}, {'[' * (levels - 3)}2{']' * (levels - 3)}]"
    ),
    "an element that is looked for": lambda levels: (
        'import "list"\na: list.Contains([b], b)\nb: '
        + "[{c: " * ((levels - 3) // 3) + "1" + "}]" * ((levels - 3) // 3)
    ),
    "what a function hands on": lambda levels: (
        'import "list"\na: list.Take(b, 1)\nb: ' + "[" * (levels - 1) + "1" + "]" * (levels - 1)
    ),
    "what is written as JSON": lambda levels: (
        'import "encoding/json"\na: json.Marshal(b)\nb: '
        + "[" * (levels - 1) + "1" + "]" * (levels - 1)
    ),
    "what is read from JSON": lambda levels: (
        f'import "encoding/json"\na: json.Unmarshal("{"[" * 199}1{"]" * 199}")'
    ),
    "JSON within JSON": lambda levels: (
        'import "encoding/json"\na: ' + 'json.Validate("1", ' * ((levels - 1) // 2) + "int"
        + ")" * ((levels - 1) // 2) + " | 1"
    ),
}  # fmt: skip
"""By what is nested."""


CHAINED: dict[str, Deep] = {
    "references": _chained("aI: aJ", "aI: 1"),
    "sums": _chained("aI: aJ + 1", "aI: 1"),
    "structs": _chained("aI: {b: aJ}", "aI: 1"),
    "lists": _chained("aI: [aJ]", "aI: 1"),
    "definitions": _chained("#aI: #aJ", "#aI: {b: 1}"),
    "definitions that embed": _chained("#aI: {#aJ, bI: 1}", "#aI: {b: 1}"),
    "definitions that only embed": _chained("#aI: {#aJ}", "#aI: {b: 1}"),
    "definitions with a field": _chained("#aI: {b: #aJ}", "#aI: {c: 1}"),
    "definitions that are extended": _chained("#aI: #aJ & {bI?: 1}", "#aI: {...}"),
    "hidden fields": _chained("_aI: _aJ", "_aI: 1", "a: _a0"),
    "lets": _chained("let aI = aJ", "let aI = 1", "a: a0"),
    "lets of structs": _chained("let aI = {b: aJ}", "let aI = 1", "a: a0"),
    "selections": _chained("aI: {b: aJ.b}", "aI: {b: 1}"),
    "selections of a sum": _chained("aI: {b: aJ.b + 1}", "aI: {b: 1}"),
    "indexes": _chained("aI: [aJ[0]]", "aI: [1]"),
    "slices": _chained("aI: aJ[0:]", "aI: [1]"),
    "calls": _chained("aI: len([aJ])", "aI: 1"),
    "calls with all that is inside": _chained("aI: and([aJ])", "aI: 1"),
    "interpolations": _chained('aI: "\\(aJ)"', 'aI: "x"'),
    "computed labels": _chained("aI: {(aJ.b): 1, b: aJ.b}", 'aI: {b: "b"}'),
    "conditions": _chained("aI: {if aJ.b {b: true}}", "aI: {b: true}"),
    "loops": _chained("aI: [for x in aJ {x}]", "aI: [1]"),
    "disjunctions": _chained("aI: *aJ | string", "aI: 1"),
    "disjunctions that fail": _chained('aI: aJ & 1 | "xI" & aJ', "aI: true"),
    "conjunctions": _chained("aI: _ & aJ", "aI: 1"),
    "comparisons": _chained("aI: aJ == true", "aI: true"),
    "absences": _chained("aI: aJ == _|_", "aI: 1"),
    "patterns": _chained("aI: {[aJ.b]: 1, b: aJ.b}", 'aI: {b: "b"}'),
    "closed structs": _chained("aI: close(aJ)", "aI: {b: 1}"),
    "embeddings": _chained("aI: {aJ}", "aI: {b: 1}"),
    "validators": _chained(
        "aI: {b: aJ.b & list.MaxItems(3)}", "aI: {b: [1]}", 'import "list"'
    ),
    "sorted lists": _chained(
        "aI: list.Sort(aJ, list.Ascending)", "aI: [2, 1]", 'import "list"'
    ),
    "JSON": _chained("aI: json.Unmarshal(json.Marshal(aJ))", "aI: 1", 'import "encoding/json"'),
    "validated JSON": _chained(
        'aI: {b: "1", c: json.Validate(b, aJ.b)}', "aI: {b: int}", 'import "encoding/json"'
    ),
}  # fmt: skip
"""By what the fields of a chain do with the next."""
