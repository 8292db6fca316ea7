"""How a package states its functions: names, kinds, limits of arguments."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from connect.config.cue.numbers import number_text
from connect.config.cue.values import Builtin, BuiltinError, Kind

__all__ = ["Signatures"]

_INT64 = range(-(2**63), 2**63)


class Signatures:
    """Collects the members of a package.

    Args:
        path: of the package, such as ``encoding/json``; empty for what is predeclared.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.members: dict[str, Any] = {}

    def add(
        self,
        name: str,
        parameters: tuple[Kind, ...],
        result: Kind,
        function: Callable[..., Any],
        *,
        big: bool = False,
        open_list: bool = False,
        apply: bool = False,
        bounded: bool = False,
    ) -> None:
        """Add a function; see `Builtin` for the arguments that it shares.

        Args:
            name: without the package.
            big: it takes ints of any size; others refuse what is no 64-bit integer.
        """
        if not big and Kind.INT in parameters:
            function = _with_machine_ints(function, parameters, shift=int(apply))
        qualified = f"{self.path}.{name}" if self.path else name
        self.members[name] = Builtin(
            qualified, parameters, result, function, open_list, apply, bounded
        )


def _with_machine_ints(
    function: Callable[..., Any], parameters: tuple[Kind, ...], shift: int
) -> Callable[..., Any]:
    positions = [index for index, kind in enumerate(parameters) if kind == Kind.INT]

    @wraps(function)
    def checked(*arguments: Any, **keywords: Any) -> Any:
        for index in positions:
            if arguments[index + shift] not in _INT64:
                raise BuiltinError(
                    f"argument {index + 1} is {number_text(arguments[index + shift])};"
                    " it must fit into 64 bits"
                )
        return function(*arguments, **keywords)

    return checked
