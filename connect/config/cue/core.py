"""What the parts of the evaluator offer each other, and the state that they share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from connect.config.cue.budget import Budget, Meter
from connect.config.cue.closedness import CloseInfo
from connect.config.cue.environment import Env
from connect.config.cue.errors import CueError, Path
from connect.config.cue.lattice import Bottom, Code, Label, Part, Scalar, Value
from connect.config.cue.source import Span
from connect.config.cue.stack import Stack
from connect.config.cue.terms import ComprehensionTerm, StructTerm, Term
from connect.config.cue.values import Builtin
from connect.config.cue.vertex import State, Status, StructInfo, Vertex

__all__ = ["Core", "Redact"]

Redact = Callable[[Path], bool]
"""Tells whether the value at a path is a secret, which no message may show."""

LEVELS = 24
"""Levels of recursion that an evaluation takes upon one stack, of about six frames each."""


class Core(ABC):
    """One evaluation: its budget, the packages it uses, and where it is.

    Attributes:
        vertex: the vertex whose conjuncts are being unified.
        deferring: while greater than 0, disjuncts are tried before all is known, and what
            could only be wrong in the end is not checked.
        settling: clauses that wait for each other are decided now, nothing else will be.
        packages: the evaluated packages by import path.
        stack: every cycle of calls among the parts takes a level of it.
        computing: how many times each value inside an expression is being computed, by its
            term and what the names in it refer to.
        secrets: texts of values at paths that `redact` names.
    """

    def __init__(self, budget: Budget, redact: Redact | None = None) -> None:
        self.meter = Meter(budget, self._where)
        self.stack = Stack(LEVELS)
        self.redact = redact
        self.vertex = Vertex()
        self.deferring = 0
        self.settling = False
        self.packages: dict[str, Vertex] = {}
        self.computing: dict[tuple[int, int, int, str | None], int] = {}
        self.secrets: set[str] = set()

    def _where(self) -> tuple[Path, Span | None]:
        return self.vertex.path, self.vertex.span

    # Unification (unify.py, conjuncts.py)

    @abstractmethod
    def unify(self, vertex: Vertex, want: Status) -> None:
        """Unify the conjuncts of a vertex, as far as wanted and possible."""

    @abstractmethod
    def finalize(self, vertex: Vertex) -> None:
        """Unify a vertex and all below it, to the end."""

    @abstractmethod
    def progress(self, state: State) -> None:
        """Insert conjuncts, and what waits, until nothing more can be inserted."""

    @abstractmethod
    def complete(self, state: State) -> None:
        """Give a vertex its base value once its conjuncts are inserted."""

    @abstractmethod
    def add_conjunct(self, state: State, env: Env, term: Term | Vertex, close: CloseInfo) -> None:
        """Unify a vertex with a term."""

    @abstractmethod
    def add_value(self, state: State, env: Env, value: Value, close: CloseInfo) -> None:
        """Unify a vertex with a value."""

    @abstractmethod
    def add_struct(self, state: State, env: Env, term: StructTerm, close: CloseInfo) -> None:
        """Unify a vertex with a struct literal."""

    @abstractmethod
    def narrow(self, state: State, kind: int, source: object) -> bool:
        """Restrict the kinds that a value may be of; tell whether any are left."""

    @abstractmethod
    def insert_field(
        self,
        state: State,
        label: Label,
        conjunct: tuple[Env, Term | Vertex, CloseInfo],
    ) -> Vertex:
        """Add a conjunct to an arc."""

    @abstractmethod
    def add_lists(self, state: State) -> None:
        """Unify the list conjuncts of a vertex."""

    # Disjunctions (disjunction.py)

    @abstractmethod
    def expand_disjunctions(self, state: State) -> None:
        """Find the disjuncts that are left, and the defaults among them."""

    # Expressions (references.py, expressions.py, operators.py, calls.py)

    @abstractmethod
    def evaluate(self, env: Env, term: Term | Vertex) -> Value:
        """Return the value of a term, as far as it is known; never raises but for budgets."""

    @abstractmethod
    def resolve(self, env: Env, term: Term | Vertex) -> "Value":
        """Return the vertex that a reference leads to, or another value, or an error."""

    @abstractmethod
    def concrete(self, env: Env, term: Term | Vertex, operation: str) -> Value:
        """Return an atom, a struct or a list; a `Bottom` if the value is not (yet) one."""

    @abstractmethod
    def value_of(self, vertex: Vertex) -> Value:
        """Return the atom or error that a vertex is, or else the vertex."""

    @abstractmethod
    def default_of(self, value: Value, span: Span | None) -> Value:
        """Resolve a disjunction to its default; a `Bottom` if it has none, or several."""

    @abstractmethod
    def yields(
        self, env: Env, comprehension: ComprehensionTerm
    ) -> "list[tuple[Env, StructTerm]] | Bottom":
        """Return the structs that a comprehension yields, or why it cannot yet."""

    @abstractmethod
    def satisfies(self, builtin: Builtin, arguments: Sequence[Value], span: Span | None) -> Value:
        """Call a validator; return a bool or an error."""

    @abstractmethod
    def label_of(self, env: Env, term: Term) -> "str | Bottom":
        """Return the name that a computed label is."""

    @abstractmethod
    def compare(self, operator: str, left: Value, right: Value, span: Span | None) -> Value:
        """Return a bool, or an error if the operands cannot be compared so."""

    @abstractmethod
    def signed(self, operator: str, value: Scalar, span: Span | None) -> Scalar:
        """Return a number with a sign before it."""

    @abstractmethod
    def list_of(self, values: Sequence[Value]) -> Vertex:
        """Return a closed list of evaluated values."""

    @abstractmethod
    def from_python(self, value: Any, span: Span | None) -> Value:
        """Return what a function returned as a value."""

    @abstractmethod
    def package_member(self, path: str, name: str) -> Value:
        """Return a member of a builtin package that is written in CUE."""

    # Patterns and closedness (patterns.py)

    @abstractmethod
    def apply_constraints(self, vertex: Vertex) -> bool:
        """Add what the parent's optional fields and patterns say of a vertex.

        Returns:
            whether anything was added.
        """

    @abstractmethod
    def allowed(self, vertex: Vertex) -> Bottom | None:
        """Check that the parent's closed structs allow a vertex."""

    @abstractmethod
    def declares(self, info: StructInfo, label: Label) -> bool:
        """Tell whether a struct declares a label, or a pattern of it matches."""

    # Common small things

    def failure(self, *parts: Part, spans: Sequence[Span | None] = ()) -> Bottom:
        """Return an error that more specific values cannot resolve."""
        return Bottom(Code.EVALUATION, parts, spans)

    def waiting(self, *parts: Part, spans: Sequence[Span | None] = ()) -> Bottom:
        """Return an error that more specific values may resolve."""
        return Bottom(Code.INCOMPLETE, parts, spans)

    def exceeded(self, message: str) -> CueError:
        return self.meter.exceeded(message)


def boolean(value: bool, span: Span | None) -> Scalar:
    return Scalar(value, span)
