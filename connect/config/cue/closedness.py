"""Which fields a closed struct allows ("Closed structs", "Definitions and hidden fields").

Every struct among the conjuncts of a vertex knows how it came there: through a reference
to a definition, which closes what it brings, or by embedding, which lets the enclosing
struct add fields. These ways form a tree. Where a definition is in it, a field is allowed
if every definition that is not embedded allows it, and every struct around embedded ones
does, by itself or through what it embeds.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from connect.config.cue.lattice import Label
from connect.config.cue.stack import Stack

if TYPE_CHECKING:
    from connect.config.cue.vertex import StructInfo, Vertex

__all__ = ["NO_CLOSE", "CloseInfo", "CloseTree", "is_closed_struct"]


class _Mode(IntEnum):
    """What a step of the way means ("Embedding", "Definitions and hidden fields")."""

    GROUP = 0  # a struct with embeddings, a closed struct
    DEFINITION = 1
    EMBEDDING = 2


class _Node:
    """One step of the way by which a struct came to a vertex ("Closed structs")."""

    __slots__ = ("defines", "embedded", "mode", "parent")

    def __init__(self, parent: "_Node | None", mode: _Mode) -> None:
        self.parent = parent
        self.mode = mode
        self.defines: bool = mode is _Mode.DEFINITION
        self.embedded: bool = mode is _Mode.EMBEDDING
        if parent is not None:
            self.defines = self.defines or parent.defines
            self.embedded = self.embedded or parent.embedded


class CloseInfo:
    """How a conjunct came to its vertex ("Closed structs").

    Attributes:
        node: the last step, None for what is written there.
        is_closed: the struct itself is closed, not what is in it (`close`).
    """

    __slots__ = ("is_closed", "node")

    def __init__(self, node: _Node | None, is_closed: bool = False) -> None:
        self.node = node
        self.is_closed = is_closed

    @property
    def defines(self) -> bool:
        """Tell whether it came through a definition ("Definitions and hidden fields")."""
        return self.node is not None and self.node.defines

    def definition(self) -> "CloseInfo":
        """Come through a reference to a definition ("Definitions and hidden fields")."""
        return CloseInfo(_Node(self.node, _Mode.DEFINITION))

    def embedding(self) -> "CloseInfo":
        """Come by embedding ("Embedding")."""
        return CloseInfo(_Node(self.node, _Mode.EMBEDDING))

    def group(self) -> "CloseInfo":
        """Be in a struct that embeds others, which may close it as a whole ("Embedding")."""
        return CloseInfo(_Node(self.node, _Mode.GROUP), self.is_closed)

    def shut(self) -> "CloseInfo":
        """Be closed by `close` ("Closed structs")."""
        return CloseInfo(_Node(self.node, _Mode.GROUP), is_closed=True)

    def inside(self) -> "CloseInfo":
        """Return the info of what is in the struct ("Closed structs")."""
        return CloseInfo(self.node) if self.is_closed else self


NO_CLOSE = CloseInfo(None)


def is_closed_struct(vertex: "Vertex") -> bool:
    """Tell whether some struct of a vertex is closed ("Closed structs")."""
    return any(info.close.is_closed or info.close.defines for info in vertex.structs)


class _Entry:
    """A node of the tree of one vertex ("Closed structs")."""

    __slots__ = ("children", "infos", "node", "required")

    def __init__(self, node: _Node | None) -> None:
        self.node = node
        self.children: list[_Entry] = []
        self.infos: list[StructInfo] = []
        self.required = False


class CloseTree:
    """The ways of all structs of one vertex ("Closed structs").

    Args:
        structs: of the vertex, complete.
        allows: tells whether a struct declares a label, or a pattern of it matches.
        stack: the ways may be long, and take levels of it.
    """

    __slots__ = ("_allows", "_closing", "_entries", "_root", "_stack", "restricts")

    def __init__(
        self,
        structs: "Sequence[StructInfo]",
        allows: "Callable[[StructInfo, Label], bool]",
        stack: Stack,
    ) -> None:
        self._allows = allows
        self._stack = stack
        self._root = _Entry(None)
        self._entries: dict[_Node | None, _Entry] = {None: self._root}
        self.restricts = False
        for info in structs:
            self._entry(info.close.node).infos.append(info)
            self._require(info.close)
        self._closing = self._required() if self.restricts else ()

    @property
    def size(self) -> int:
        """The number of nodes, which is what making the tree costs ("Closed structs")."""
        return len(self._entries)

    def _required(self) -> "Sequence[_Entry]":
        """Return the nodes that must all allow a field, of those that say the same one
        ("Closed structs").

        What is embedded need not: the struct around it may add fields ("Embedding").
        """
        telling: dict[_Entry, None] = {}
        passed: set[_Entry] = set()
        for node, entry in self._entries.items():
            if entry.required and not (node is not None and node.embedded):
                while not entry.infos and len(entry.children) == 1 and entry not in passed:
                    passed.add(entry)
                    entry = entry.children[0]
                if entry not in passed:
                    telling[entry] = None
        return tuple(telling)

    def _entry(self, node: _Node | None) -> _Entry:
        known = self._entries.get(node)
        if known is not None:
            return known
        new = below = _Entry(node)
        while known is None:
            assert node is not None
            self._entries[node] = below
            node = node.parent
            known = self._entries.get(node)
            above = _Entry(node) if known is None else known
            above.children.append(below)
            below = above
        return new

    def _require(self, close: CloseInfo) -> None:
        """Mark the nearest thing that closes the struct, and all around it ("Closed structs")."""
        node = close.node
        if not close.is_closed:
            while node is not None and node.mode is not _Mode.DEFINITION:
                node = node.parent
            if node is None:
                return
        self.restricts = True
        while True:
            entry = self._entry(node)
            if entry.required:
                return
            entry.required = True
            if node is None:
                return
            node = node.parent

    def allowed(self, label: Label) -> bool:
        """Tell whether every closed struct allows a field ("Closed structs")."""
        known: dict[_Entry, bool] = {}
        if not self._accepts(self._root, label, known):
            return False
        return all(self._accepts(entry, label, known) for entry in self._closing)

    def found(self, label: Label) -> bool:
        """Tell whether the structs allow a field, taken together ("Closed structs")."""
        return self._accepts(self._root, label, {})

    def _accepts(self, entry: _Entry, label: Label, known: dict[_Entry, bool]) -> bool:
        """Tell whether a node allows a field: all that closes it, else anything in it
        ("Closed structs", "Embedding").

        Args:
            known: the answers so far, so that none is found twice.
        """
        while not entry.infos and len(entry.children) == 1:
            entry = entry.children[0]  # which says all that this one does
        answer = known.get(entry)
        if answer is not None:
            return answer
        stack = self._stack
        if not stack.room:
            return stack.call(self._accepts, entry, label, known)
        stack.room -= 1
        closing, accepted = False, True
        for child in entry.children:
            node = child.node
            if child.required and node is not None and node.mode is not _Mode.EMBEDDING:
                closing = True
                accepted = self._accepts(child, label, known)
                if not accepted:
                    break
        if not closing:
            accepted = False
            for info in entry.infos:
                accepted = accepted or self._allows(info, label)
            for child in entry.children:
                accepted = accepted or self._accepts(child, label, known)
        stack.room += 1
        known[entry] = accepted
        return accepted
