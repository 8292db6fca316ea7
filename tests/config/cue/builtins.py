"""Calling a builtin function as the evaluator does, and reading what it answers."""

from typing import Any

import pytest

from connect.config.cue.jsontext import to_json
from connect.config.cue.packages import package
from connect.config.cue.values import Builtin, BuiltinError, Kind, kind_of

__all__ = ["Undecided", "answer", "builtin", "call", "refusal"]


class Undecided:
    """A value that is not concrete, as the evaluator hands it on."""

    def __init__(self, kind: Kind) -> None:
        self.cue_kind = kind
        self.cue_text = str(kind)


def builtin(path: str, name: str) -> Builtin:
    """Return a function of a package."""
    found = package(path)
    assert found is not None
    member = found.members[name]
    assert isinstance(member, Builtin)
    return member


def call(path: str, name: str, *arguments: Any, **keywords: Any) -> Any:
    """Call a function with arguments of the kinds that it takes, and return what it answers."""
    function = builtin(path, name)
    taken = arguments[1:] if function.apply else arguments
    assert len(taken) == len(function.parameters)
    for argument, kind in zip(taken, function.parameters, strict=True):
        assert kind_of(argument) & kind
    result = function.function(*arguments, **keywords)
    assert kind_of(result) & function.result
    return result


def answer(path: str, name: str, *arguments: Any) -> str:
    """Return what a function answers, as JSON."""
    return to_json(call(path, name, *arguments))


def refusal(path: str, name: str, *arguments: Any, **keywords: Any) -> str:
    """Return why a function refuses its arguments."""
    with pytest.raises(BuiltinError) as caught:
        call(path, name, *arguments, **keywords)
    return str(caught.value)
