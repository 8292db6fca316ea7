"""The function definitions that a service has loaded."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connect.config.definitions import Function

if TYPE_CHECKING:
    from connect.config.function_files import FunctionFile  # the language core, when it is needed

__all__ = ["Changes", "DefinedFunction", "DefinedFunctions"]


@dataclass(frozen=True, slots=True)
class DefinedFunction:
    """A definition and where it comes from.

    Attributes:
        file: the path of its file, as it was found.
    """

    function: Function
    file: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two sets of definitions, as ids in the order of the sets."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class DefinedFunctions(Mapping[str, DefinedFunction]):
    """Definitions by their ids, in the order of their files; never changes.

    Args:
        functions: which differ in their ids.
    """

    def __init__(self, functions: Iterable[DefinedFunction] = ()) -> None:
        self._by_id = {defined.function.id: defined for defined in functions}

    @classmethod
    def of_files(cls, files: Iterable["FunctionFile"]) -> "DefinedFunctions":
        """Return the definitions of files that have no fault, such as `LoadedFunctions.files`."""
        return cls(
            DefinedFunction(Function.of_checked(file.definition), file.name) for file in files
        )

    def __getitem__(self, function_id: str) -> DefinedFunction:
        return self._by_id[function_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def changes(self, new: "DefinedFunctions") -> Changes:
        """Return what differs in others that take the place of these."""
        return Changes(
            added=tuple(name for name in new if name not in self),
            changed=tuple(
                name
                for name in new
                if name in self and self[name].function.definition != new[name].function.definition
            ),
            removed=tuple(name for name in self if name not in new),
        )
