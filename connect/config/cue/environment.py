"""What the names in a term refer to, by the chain of scopes ("Declarations and scope").

A term is compiled once and evaluated wherever references carry it; the environment says
which struct each of its scopes is there.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connect.config.cue.vertex import Vertex

__all__ = ["Env", "Trail"]


class Trail:
    """A vertex through which references led to a term, and those before it
    ("Reference cycles", "Structural cycles").
    """

    __slots__ = ("before", "vertex")

    def __init__(self, vertex: "Vertex", before: "Trail | None") -> None:
        self.vertex = vertex
        self.before = before


class Env:
    """What the names in a term refer to: one level of the chain of scopes
    ("Declarations and scope").

    Attributes:
        up: the environment of the enclosing scope.
        vertex: that which the scope's struct or list is part of.
        variables: of a comprehension's clause.
        label: the one that a pattern matched.
        lets: values of the scope's `let`s, shared by copies of the environment.
        trail: the vertices through which references led here, from the document's root;
            to meet one of them again is a structural cycle.
        level: the trail where the vertex of the term begins; what is after it was met in
            the same vertex, and to meet that again adds nothing.
        cyclic: the term comes from a structural cycle.
    """

    __slots__ = ("cyclic", "label", "lets", "level", "trail", "up", "variables", "vertex")

    def __init__(
        self,
        up: "Env | None",
        vertex: "Vertex",
        variables: "dict[str, Vertex] | None" = None,
    ) -> None:
        self.up = up
        self.vertex = vertex
        self.variables = variables
        self.label: str | None = None
        self.lets: dict[int, Vertex] | None = None
        self.trail: Trail | None = None
        self.level: Trail | None = None
        self.cyclic = False
        if up is not None:
            self.trail = up.trail
            self.cyclic = up.cyclic
            # A clause has no vertex of its own: its level is that of the scope around it.
            self.level = up.trail if variables is None else up.level

    def copy(self) -> "Env":
        new = Env.__new__(Env)
        new.up = self.up
        new.vertex = self.vertex
        new.variables = self.variables
        new.label = self.label
        new.lets = self.lets
        new.trail = self.trail
        new.level = self.level
        new.cyclic = self.cyclic
        return new

    def apart(self) -> "Env":
        """Return the same environment for a vertex of its own, in which nothing was met yet."""
        if self.level is self.trail:
            return self
        new = self.copy()
        new.level = self.trail
        return new

    def ancestor(self, up: int) -> "Env":
        env = self
        for _ in range(up):
            assert env.up is not None
            env = env.up
        return env
