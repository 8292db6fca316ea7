"""The function definitions that a service has loaded."""

from typing import Any

import pytest

from connect.config.cue.source import Source
from connect.config.defined import Changes, DefinedFunction, DefinedFunctions
from connect.config.definitions import Function
from connect.config.function_files import check_sources


def defined(*names: str, **changed: Any) -> DefinedFunctions:
    return DefinedFunctions(
        DefinedFunction(
            Function.from_json({"id": name, "name": changed.get(name, name), "triggers": []}),
            f"{name}.cue",
        )
        for name in names
    )


def test_definitions_are_found_by_their_ids() -> None:
    functions = defined("b", "a")
    assert functions["a"].file == "a.cue"
    assert list(functions) == ["b", "a"]
    assert len(functions) == 2


def test_an_id_that_is_not_there_is_no_key() -> None:
    with pytest.raises(KeyError):
        defined("a")["b"]


def test_changes_are_told_by_id() -> None:
    changes = defined("a", "b", "c").changes(defined("b", "c", "d", c="C"))
    assert changes == Changes(added=("d",), changed=("c",), removed=("a",))


def test_definitions_are_made_of_files_with_their_defaults() -> None:
    text = 'function: {id: "f", name: "F", triggers: [], throttle: period: "1m"}'
    loaded = check_sources([(Source("f.cue", text), True)])
    [(name, found)] = DefinedFunctions.of_files(loaded.files).items()
    assert (name, found.file) == ("f", "f.cue")
    assert found.function.definition["throttle"] == {"period": "1m", "count": 1}
