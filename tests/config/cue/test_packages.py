"""The builtin packages as a whole: which there are, and what a function's statement says."""

import subprocess
import sys

import pytest

from connect.config.cue.packages import PACKAGE_PATHS, package
from connect.config.cue.values import Builtin, Kind, Package

REQUIRED = {
    "strings": 34,
    "list": 24,
    "regexp": 11,
    "math": 76,
    "struct": 2,
    "encoding/json": 8,
    "strconv": 19,
    "time": 46,
}


def loaded(path: str) -> Package:
    found = package(path)
    assert found is not None
    return found


@pytest.mark.parametrize(("path", "count"), REQUIRED.items())
def test_members(path: str, count: int) -> None:
    assert len(loaded(path).members) == count


@pytest.mark.parametrize("path", PACKAGE_PATHS)
def test_a_package_states_its_path(path: str) -> None:
    found = loaded(path)
    assert found.path == path
    for name, member in found.members.items():
        if isinstance(member, Builtin):
            assert member.name == f"{path}.{name}"


def test_paths_are_sorted() -> None:
    assert sorted(PACKAGE_PATHS) == list(PACKAGE_PATHS)


@pytest.mark.parametrize("path", ["", "Strings", "json", "os", "strings/"])
def test_there_are_no_others(path: str) -> None:
    assert package(path) is None


VALIDATORS = {
    "strings": {"MinRunes", "MaxRunes", "Contains", "ContainsAny", "HasPrefix", "HasSuffix"},
    "list": {
        "MinItems",
        "MaxItems",
        "UniqueItems",
        "Contains",
        "IsSorted",
        "IsSortedStrings",
    },
    "regexp": {"Valid", "Match"},
    "math": {"MultipleOf", "Signbit"},  # of numbers: refused where they validate
    "struct": {"MinFields", "MaxFields"},
    "encoding/json": {"Valid", "Validate"},
    "strconv": {"ParseBool", "IsPrint", "IsGraphic"},
    "time": {"Time", "Duration", "Format"},
}


@pytest.mark.parametrize(("path", "names"), VALIDATORS.items())
def test_functions_that_can_be_validators(path: str, names: set[str]) -> None:
    members = loaded(path).members.items()
    assert {
        name
        for name, member in members
        if isinstance(member, Builtin) and member.result is Kind.BOOL
    } == names


def test_packages_are_loaded_when_asked_for() -> None:
    code = (
        "import sys\n"
        "from connect.config.cue.packages import package\n"
        "before = set(sys.modules)\n"
        "package('struct')\n"
        "print(sorted(set(sys.modules) - before))\n"
        "print([path for path in ('json', 'math', 'strconv', 'time')"
        " if f'connect.config.cue.packages.{path}' in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert shown.stdout.splitlines() == ["['connect.config.cue.packages.struct']", "[]"]
