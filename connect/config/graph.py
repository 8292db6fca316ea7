"""A function's steps as a picture: for the terminal, as Mermaid, as Graphviz DOT.

In the terminal the picture is a tree. A step that comes after several others is drawn
under the one with the most steps before it, with the others named; under these it is
only mentioned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from connect.config.definitions import TRIGGER, After, CronTrigger, Function, Step, Trigger
from connect.config.printable import printable
from connect.config.steps import step_layers

__all__ = ["Charset", "dot_graph", "mermaid_graph", "terminal_graph"]

_LONGEST_LABEL = 60  # characters; longer ones are cut


class Charset(StrEnum):
    """What a terminal can show."""

    UNICODE = "unicode"
    ASCII = "ascii"


@dataclass(frozen=True, slots=True)
class _Strokes:
    """The pieces that a tree is drawn with."""

    trigger: str
    rail: str
    branch: str
    last: str
    beside: str
    below: str


_STROKES = {
    Charset.UNICODE: _Strokes("◇ ", "│", "├─▶ ", "└─▶ ", "│   ", "    "),
    Charset.ASCII: _Strokes("* ", "|", "|-> ", "`-> ", "|   ", "    "),
}


def terminal_graph(function: Function, charset: Charset = Charset.UNICODE) -> str:
    """Return the steps as a tree to print.

    Args:
        function: the function.
        charset: what the picture may be made of.

    Returns:
        Lines, each with its line break; control characters are written as escapes.
    """
    strokes = _STROKES[charset]
    lines = [_titled(function.id, function.name)]
    lines += [strokes.trigger + _trigger_label(trigger) for trigger in function.triggers]
    lines.append(strokes.rail if function.steps else "(no steps: one call does everything)")
    lines += _tree(function, strokes)
    text = "".join(f"{printable(line)}\n" for line in lines)
    return text if charset is Charset.UNICODE else _ascii(text)


def mermaid_graph(function: Function) -> str:
    """Return the steps as a Mermaid flowchart."""
    names = _node_names(function)
    triggers = [_trigger_label(trigger) for trigger in function.triggers] or ["(invoked)"]
    label = "<br/>".join(_mermaid_text(text) for text in triggers)
    lines = ["flowchart TD", f'    {names[TRIGGER]}(["{label}"])']
    lines += [
        f'    {names[step.id]}["{_mermaid_text(_titled(step.id, step.name))}"]'
        for step in function.steps
    ]
    for before, step, label in _edges(function):
        arrow = f'-->|"{_mermaid_text(label)}"|' if label else "-->"
        lines.append(f"    {names[before]} {arrow} {names[step.id]}")
    return "\n".join(lines) + "\n"


def dot_graph(function: Function) -> str:
    """Return the steps as a directed graph in Graphviz's language DOT."""
    names = _node_names(function)
    triggers = [_trigger_label(trigger) for trigger in function.triggers] or ["(invoked)"]
    label = "\\n".join(_dot_text(text) for text in triggers)
    lines = [
        f'digraph "{_dot_text(function.id)}" {{',
        "    node [shape=box];",
        f'    {names[TRIGGER]} [label="{label}", shape=ellipse];',
    ]
    lines += [
        f'    {names[step.id]} [label="{_dot_text(_titled(step.id, step.name))}"];'
        for step in function.steps
    ]
    for before, step, label in _edges(function):
        shown = f' [label="{_dot_text(label)}"]' if label else ""
        lines.append(f"    {names[before]} -> {names[step.id]}{shown};")
    return "\n".join([*lines, "}"]) + "\n"


def _tree(function: Function, strokes: _Strokes) -> Iterator[str]:
    """Yield the lines of the tree below the triggers."""
    below: dict[str, list[Step]] = {TRIGGER: []}
    home = _homes(function)
    for layer in step_layers(function):
        for step in layer:
            for before in _before(step):
                below.setdefault(before, []).append(step)
    # The lines yet to be drawn, the next one at the end: what stands before it, the step,
    # what it is drawn under, and whether it is the last one there.
    rest = [("", step, TRIGGER, at == 0) for at, step in enumerate(reversed(below[TRIGGER]))]
    while rest:
        indent, step, parent, last = rest.pop()
        text = indent + (strokes.last if last else strokes.branch)
        if parent != home[step.id]:
            yield f"{text}{step.id}  (drawn under {home[step.id]})"
            continue
        text += _titled(step.id, step.name)
        if label := _label(step, parent):
            text += f"  [{label}]"
        for other in _before(step):
            if other != parent:
                label = _label(step, other)
                text += f"  + {other}" + (f" [{label}]" if label else "")
        yield text
        indent += strokes.below if last else strokes.beside
        children = reversed(below.get(step.id, ()))
        rest += [(indent, child, step.id, at == 0) for at, child in enumerate(children)]


def _homes(function: Function) -> dict[str, str]:
    """Return for each step what it is drawn under."""
    depth = {step.id: at for at, layer in enumerate(step_layers(function)) for step in layer}
    return {
        step.id: max(step.parents, key=depth.__getitem__, default=TRIGGER)
        for step in function.steps
    }


def _edges(function: Function) -> Iterator[tuple[str, Step, str]]:
    """Yield what each step comes after, the step, and what must hold in between."""
    for step in function.steps:
        for before in _before(step):
            yield before, step, _label(step, before)


def _before(step: Step) -> tuple[str, ...]:
    """Return what a step comes after, each once."""
    return tuple(dict.fromkeys(after.step for after in step.after)) or (TRIGGER,)


def _label(step: Step, before: str) -> str:
    return " or ".join(
        text for after in step.after if after.step == before and (text := _condition(after))
    )


def _condition(after: After) -> str:
    parts = [f"if {after.condition}"] if after.condition else []
    if after.wait:
        parts.append(f"wait {after.wait}")
    if after.awaited:
        word = "no " if after.awaited.on_timeout else ""
        match = f" where {after.awaited.match}" if after.awaited.match else ""
        parts.append(f"{word}{after.awaited.event} within {after.awaited.ttl}{match}")
    return _cut(", ".join(parts))


def _trigger_label(trigger: Trigger) -> str:
    if isinstance(trigger, CronTrigger):
        late = f", up to {trigger.jitter} later" if trigger.jitter else ""
        return _cut(f"at {trigger.cron}{late}")
    condition = f" if {trigger.expression}" if trigger.expression else ""
    return _cut(f"on {trigger.event}{condition}")


def _titled(thing_id: str, name: str) -> str:
    return f"{thing_id}  ({name})" if name and name != thing_id else thing_id


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


def _node_names(function: Function) -> dict[str, str]:
    """Return names that need no quotes for the trigger and the steps."""
    names = {step.id: f"step{at}" for at, step in enumerate(function.steps, start=1)}
    return {TRIGGER: "trigger", **names}


def _ascii(text: str) -> str:
    return text.replace("…", "...").encode("ascii", "backslashreplace").decode()


def _mermaid_text(text: str) -> str:
    for character, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(character, entity)
    return printable(text)


def _dot_text(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
