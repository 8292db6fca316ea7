"""What can be wrong with a function definition, and the means to find it out."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from connect.errors import ConnectError
from connect.protocol.durations import parse_duration

__all__ = [
    "DEEPEST_NESTING",
    "Faults",
    "FunctionCheck",
    "FunctionConfigError",
    "FunctionFault",
    "Path",
    "TooManyFunctions",
    "json_kind",
    "nearest",
    "path_text",
    "inexpressible",
    "quoted",
    "unencodable",
]

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes from a function to a value in it."""

DEEPEST_NESTING = 64

_LARGEST_INTEGER = 2**53 - 1  # of canonical JSON
_TOO_LARGE = "a number too large to express"
_FAULTS_KEPT = 1000
_FAULTS_TOLD = 20
_LONGEST_QUOTE = 60
_MOST_CANDIDATES = 500  # names that a misspelt one is compared with


@dataclass(frozen=True, slots=True)
class FunctionFault:
    """One thing that is wrong with a list of functions.

    Attributes:
        function: the function's id; its place, such as ``#2``, if it has none; empty
            when the list itself is wrong.
        path: where in the function, such as ``triggers[0].cron``; empty for all of it.
        reason: what is wrong, and what would be right.
        keys: the path again, as keys and indexes, for who looks the value up.
        app: the app whose list it is, where there are lists of several; else empty.
    """

    function: str
    path: str
    reason: str
    keys: Path = ()
    app: str = ""

    def __str__(self) -> str:
        parts = (self.app, self.function, self.path, self.reason)
        return ": ".join(part for part in parts if part)


class FunctionConfigError(ConnectError):
    """A list of functions that cannot be registered.

    Attributes:
        faults: everything that is wrong with it, in the order of the list (of more
            than 1000 faults, the first ones).
    """

    def __init__(self, faults: Sequence[FunctionFault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        told = "; ".join(str(fault) for fault in self.faults[:_FAULTS_TOLD])
        untold = len(self.faults) - _FAULTS_TOLD
        return f"{told}; and {untold} more" if untold > 0 else told


class TooManyFunctions(ConnectError):
    """A list of functions that is longer than may be.

    Attributes:
        count: how long it is.
        most: how long it may be.
    """

    def __init__(self, count: int, most: int) -> None:
        super().__init__(count, most)
        self.count = count
        self.most = most

    def __str__(self) -> str:
        return f"{self.count} functions; {self.most} may be"


def json_kind(value: object) -> str:
    """Name what a value is, in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float() | Decimal():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


class Faults:
    """Collects faults; remembers only so many, but counts all.

    Args:
        work: how many characters of expressions and schedules may be compiled; what a
            stranger sends must not keep this process busy. None for no bound.
    """

    def __init__(self, *, work: int | None = None) -> None:
        self.kept: list[FunctionFault] = []
        self.count = 0
        self._work = math.inf if work is None else work

    def add(self, fault: FunctionFault) -> None:
        self.count += 1
        if self.count <= _FAULTS_KEPT:
            self.kept.append(fault)

    def spend(self, work: int) -> bool:
        """Tell whether there is room for this much work, and count it."""
        self._work -= work
        return self._work >= 0

    @property
    def suggesting(self) -> bool:
        """Whether a misspelt name is still worth a suggestion, which takes time."""
        return self.count < _FAULTS_TOLD


class FunctionCheck:
    """Looks at one function's values and notes what is wrong with them.

    Each method looks at one key of an object; `at` is the path of that object, empty for
    the definition itself. A value that is null counts as absent: SDKs send null for
    settings that are not set.
    """

    def __init__(self, function: str, faults: Faults) -> None:
        self._function = quoted(function)
        self.faults = faults

    @property
    def fault_count(self) -> int:
        return self.faults.count

    def fault(self, path: Path, reason: str) -> None:
        text = quoted(path_text(path))
        self.faults.add(FunctionFault(self._function, text, reason, path))

    def text(
        self, within: Mapping[str, Any], key: str, at: Path = (), *, required: bool = False
    ) -> str | None:
        """Return a string, if there is one; a required one must not be empty."""
        path = (*at, key)
        value = within.get(key)
        if isinstance(value, str) and (value or not required):
            return value
        if value == "":
            self.fault(path, "an empty string")
        elif value is not None:
            self.fault(path, f"{json_kind(value)}; expected a string")
        elif required:
            self.fault(path, "missing; expected a string")
        return None

    def duration(
        self, within: Mapping[str, Any], key: str, at: Path = (), *, required: bool = False
    ) -> str | None:
        """Return a duration's text, if there is one."""
        text = self.text(within, key, at, required=required)
        if text is not None:
            try:
                parse_duration(text)
            except ValueError as error:
                self.fault((*at, key), str(error))
        return text

    def flag(self, within: Mapping[str, Any], key: str, at: Path = ()) -> None:
        value = within.get(key)
        if value is not None and not isinstance(value, bool):
            self.fault((*at, key), f"{json_kind(value)}; expected a boolean")

    def choice(
        self, within: Mapping[str, Any], key: str, at: Path = (), *, choices: Sequence[str]
    ) -> None:
        text = self.text(within, key, at)
        if text is not None and text not in choices:
            expected = " or ".join(choices)
            self.fault((*at, key), f"{quoted(text)!r}; expected {expected}")

    def whole(
        self,
        within: Mapping[str, Any],
        key: str,
        at: Path = (),
        *,
        least: int = 0,
        most: int | None = None,
        required: bool = False,
    ) -> None:
        path = (*at, key)
        value = within.get(key)
        if value is None and not required:
            return
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        if value is None:
            self.fault(path, f"missing; expected a whole number {bounds}")
        elif not isinstance(value, int) or isinstance(value, bool):
            what = quoted(str(value)) if isinstance(value, float | Decimal) else json_kind(value)
            self.fault(path, f"{what}; expected a whole number {bounds}")
        elif value < least or (most is not None and value > most):
            self.fault(path, f"{quoted(str(value))}; expected a whole number {bounds}")

    def mapping(
        self, within: Mapping[str, Any], key: str, at: Path = ()
    ) -> Mapping[str, Any] | None:
        """Return an object, if there is one."""
        value = within.get(key)
        if isinstance(value, Mapping):
            return value
        if value is not None:
            self.fault((*at, key), f"{json_kind(value)}; expected an object")
        return None

    def mappings(
        self, within: Mapping[str, Any], key: str, at: Path = (), *, required: bool = False
    ) -> list[tuple[Path, Mapping[str, Any]]]:
        """Return the objects of a list, each with its path."""
        value = within.get(key)
        if value is None and not required:
            return []
        if not isinstance(value, list | tuple):
            found = "missing" if key not in within else json_kind(value)
            self.fault((*at, key), f"{found}; expected a list of objects")
            return []
        items: list[tuple[Path, Mapping[str, Any]]] = []
        for index, item in enumerate(value):
            path = (*at, key, index)
            if isinstance(item, Mapping):
                items.append((path, item))
            else:
                self.fault(path, f"{json_kind(item)}; expected an object")
        return items


def unencodable(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield path and reason of everything in a JSON value that canonical JSON lacks.

    Args:
        value: what `json.loads` returned.
        path: of the value; its length is how deep the value is nested.
    """
    match value:
        case dict() | list() if len(path) >= DEEPEST_NESTING:
            yield path, f"nested deeper than {DEEPEST_NESTING} levels"
        case dict():
            for key, item in value.items():
                if not _is_text(key):
                    yield path, "a key with half of a surrogate pair, which is no text"
                yield from unencodable(item, (*path, key))
        case list():
            for index, item in enumerate(value):
                yield from unencodable(item, (*path, index))
        case str() if not _is_text(value):
            yield path, "half of a surrogate pair, which is no text"
        case float() if not math.isfinite(value):
            yield path, _TOO_LARGE
        case int() if abs(value) > _LARGEST_INTEGER:
            yield path, f"an integer beyond {_LARGEST_INTEGER}, which JSON cannot keep"


def inexpressible(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield path and reason of every number in a JSON value that readers of JSON cannot take.

    Args:
        value: decoded JSON.
        path: of the value.
    """
    match value:
        case Mapping():
            for key, item in value.items():
                yield from inexpressible(item, (*path, key))
        case list() | tuple():
            for index, item in enumerate(value):
                yield from inexpressible(item, (*path, index))
        case int() | float() if not _is_finite(value):
            yield path, _TOO_LARGE


def path_text(path: Path) -> str:
    """Write a path as people do: ``steps.first.after[0].if``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that a misspelt name probably means, if there is one."""
    few = [name for name, _ in zip(candidates, range(_MOST_CANDIDATES), strict=False)]
    found = difflib.get_close_matches(quoted(name), few, n=1)
    return found[0] if found else None


def _is_finite(number: float) -> bool:
    """Tell whether a double can hold the number, perhaps rounded."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _is_text(text: str) -> bool:
    """Tell whether UTF-8 can express the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quoted(text: str) -> str:
    """Bound what is quoted of a stranger's text, in characters that can be sent on."""
    short = text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…"
    return short.encode(errors="backslashreplace").decode()
