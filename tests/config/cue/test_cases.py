"""Every document of `cases/`: what it becomes, or that it is refused."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connect.config.cue import (
    CueError,
    Source,
    Value,
    compile_document,
    compile_package,
)
from connect.config.schema import CONFIG_PATH, FUNCTION_PATH, schema_source
from tests.config.cue.examples import CASES, Case

_FOLDER = Path(__file__).parent / "cases"
_PACKAGES = {
    path: compile_package(schema_source(path), path) for path in (CONFIG_PATH, FUNCTION_PATH)
}


def _numbers(value: Any) -> Any:
    """Make values comparable: numbers by value, key order does not matter."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return ("number", Decimal(value).normalize() + 0)
    return value


def _document(text: str) -> Value:
    return compile_document(Source("case", text), packages=_PACKAGES)


def _bare(text: str) -> bool:
    return text.strip().startswith("{")


def _value(case: Case) -> Any:
    if case.group == "language":
        return _document(case.text).export()
    if case.group == "config":
        if _bare(case.text) or not case.text.strip():
            header = f'import c "{CONFIG_PATH}"\nconfig: c.#Config & '
            value = _document(header + (case.text.strip() or "{}"))
        else:
            value = _document(case.text)
        return (value.lookup("config") or value).export()
    document = _document(case.text)
    function = document if _bare(case.text) else document.lookup("function")
    if function is None:
        raise CueError([])
    definition = compile_document(_PACKAGES[FUNCTION_PATH]).lookup("#Function")
    assert definition is not None
    return function.unify(definition).export()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_has_the_outcome_that_it_should(case: Case) -> None:
    if case.stage:
        with pytest.raises(CueError):
            _value(case)
        return
    want = (_FOLDER / case.group / f"{case.name}.want.json").read_text(encoding="utf-8")
    expected = json.loads(want, parse_float=Decimal, parse_int=Decimal)
    assert _numbers(_value(case)) == _numbers(expected)
