"""The evaluator, put together from its parts."""

from collections.abc import Mapping

from connect.config.cue.budget import Budget
from connect.config.cue.calls import Calls
from connect.config.cue.closedness import NO_CLOSE
from connect.config.cue.comprehensions import Comprehensions
from connect.config.cue.conjuncts import Conjuncts
from connect.config.cue.constraints import Constraints
from connect.config.cue.core import Redact
from connect.config.cue.disjunction import Disjunctions
from connect.config.cue.environment import Env
from connect.config.cue.evaluation import Evaluation
from connect.config.cue.lattice import Value
from connect.config.cue.lists import Lists
from connect.config.cue.operators import Operators
from connect.config.cue.packages import package
from connect.config.cue.parser import parse
from connect.config.cue.patterns import Patterns
from connect.config.cue.references import References
from connect.config.cue.resolver import resolve_document
from connect.config.cue.source import Source
from connect.config.cue.terms import CompiledDocument
from connect.config.cue.unify import Unification
from connect.config.cue.values import CueMember
from connect.config.cue.vertex import Status, Vertex

__all__ = ["Evaluator"]


class Evaluator(
    Unification,
    Conjuncts,
    Constraints,
    Disjunctions,
    Lists,
    References,
    Operators,
    Calls,
    Comprehensions,
    Patterns,
    Evaluation,
):
    """One evaluation of documents.

    Attributes:
        sources: of the documents themselves, without packages.
    """

    def __init__(self, budget: Budget, redact: Redact | None = None) -> None:
        super().__init__(budget, redact)
        self.sources: set[Source] = set()
        self._documents: dict[int, Vertex] = {}

    def root(self, document: CompiledDocument) -> Vertex:
        """Return the vertex of a document or package; the same one each time."""
        known = self._documents.get(id(document))
        if known is None:
            known = Vertex()
            self._documents[id(document)] = known
            env = Env(None, known)
            known.conjuncts.append((env, document.root, NO_CLOSE))
            if not document.path:
                self.sources.add(document.source)
            self.meter.grant(len(document.source.text))
            stack = self.stack
            for path, imported in document.imports.items():
                if stack.room:
                    stack.room -= 1
                    self.packages[path] = self.root(imported)
                    stack.room += 1
                else:
                    self.packages[path] = stack.call(self.root, imported)
        return known

    def package_member(self, path: str, name: str) -> Value:
        key = f"{path} in CUE"
        root = self.packages.get(key)
        if root is None:
            found = package(path)
            assert found is not None
            root = self.packages[key] = self.root(_members(path, found.members))
        self.unify(root, Status.PARTIAL)
        return root.arcs[name]


def _members(path: str, members: Mapping[str, object]) -> CompiledDocument:
    lines = [
        f"{name}: {member.text}\n"
        for name, member in members.items()
        if isinstance(member, CueMember)
    ]
    return resolve_document(parse(Source(f"<{path}>", "".join(lines))), {})
