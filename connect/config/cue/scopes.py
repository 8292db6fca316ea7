"""Which names stand for what, where: the scopes that the resolver walks through.

References are lexical ("Declarations and scope" and "References" in the specification): a name
stands for what the innermost enclosing struct or clause declares under it. What an
evaluation puts into a struct, by embedding or merging, is no declaration.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from connect.config.cue.lattice import Label
from connect.config.cue.source import Span
from connect.config.cue.terms import ComputedLabel, LetValue

__all__ = [
    "Binding",
    "DynamicAlias",
    "FieldName",
    "ImportName",
    "LabelAlias",
    "LetName",
    "Scope",
    "ValueAlias",
    "VariableName",
]


@dataclass(slots=True, eq=False)
class FieldName:
    """A field, by its own name or by an alias of its label."""

    label: Label
    alias: Span | None = None
    used: bool = False


@dataclass(slots=True, eq=False)
class LetName:
    """A `let` declaration.

    Attributes:
        open: its own value is being resolved, in which it cannot be seen.
        needs: the other `let`s that its value refers to.
    """

    let: LetValue
    used: bool = False
    open: bool = False
    needs: "list[LetName]" = field(default_factory=list)


@dataclass(slots=True, eq=False)
class DynamicAlias:
    """The alias of a field whose label is computed."""

    alias: Span
    computed: ComputedLabel = field(default_factory=ComputedLabel)
    used: bool = False


@dataclass(slots=True, eq=False)
class VariableName:
    """A variable of a clause; it may be unused."""


@dataclass(slots=True, eq=False)
class LabelAlias:
    """The name of the label that matches a pattern; it may be unused."""


@dataclass(slots=True, eq=False)
class ValueAlias:
    """The name of a value."""

    alias: Span
    used: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ImportName:
    """An imported package."""

    path: str


Binding: TypeAlias = (
    FieldName | LetName | DynamicAlias | VariableName | LabelAlias | ValueAlias | ImportName
)


@dataclass(slots=True, eq=False)
class Scope:
    """The names that one struct, clause or alias declares.

    Attributes:
        level: how many environments deep the evaluation is here.
        outer: the scope around this one.
    """

    level: int
    outer: "Scope | None"
    names: dict[str, Binding] = field(default_factory=dict)

    def find(self, name: str) -> "tuple[Binding, int] | None":
        """Return what a name stands for, and the level at which it is declared."""
        scope: Scope | None = self
        while scope is not None:
            binding = scope.names.get(name)
            if binding is not None and not (isinstance(binding, LetName) and binding.open):
                return binding, scope.level
            scope = scope.outer
        return None

    def visible(self) -> list[str]:
        """Return every name that can be used here."""
        names: dict[str, None] = {}
        scope: Scope | None = self
        while scope is not None:
            names.update(dict.fromkeys(scope.names))
            scope = scope.outer
        return list(names)
