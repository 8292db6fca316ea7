"""Finding apps by module and attribute."""

import sys
from pathlib import Path

import pytest

from connect import demo
from connect.errors import ConfigurationError
from connect.worker import load_apps


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that can be imported by its name from the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    name = f"apps_{tmp_path.name.replace('-', '_')}"
    return tmp_path / f"{name}.py"


def _message(reference: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load_apps(reference)
    return str(raised.value)


def test_an_app_is_found() -> None:
    assert load_apps("connect.demo:app") == [demo.app]


@pytest.mark.parametrize("reference", ["", "connect.demo", ":app", "connect.demo:"])
def test_a_reference_names_module_and_attribute(reference: str) -> None:
    assert _message(reference) == (
        f"expected module:attribute, such as connect.demo:app, not {reference!r}"
    )


def test_a_missing_module_is_told_with_those_of_like_names() -> None:
    assert _message("connect.demos:app") == (
        "there is no module 'connect.demos'; did you mean connect.demo?"
    )


def test_a_missing_package_is_told_with_those_of_like_names() -> None:
    message = _message("conect.demo:app")

    assert message.startswith("there is no module 'conect'; did you mean ")
    assert "connect" in message.partition(";")[2]


def test_a_module_like_no_other_is_only_told() -> None:
    assert _message("qqzzxxjjvvw:app") == "there is no module 'qqzzxxjjvvw'"


def test_a_missing_attribute_is_told_with_the_modules_apps() -> None:
    assert _message("connect.demo:server") == (
        "module connect.demo has no 'server'; did you mean app?"
    )


def test_without_apps_a_missing_attribute_is_told_with_those_of_like_names(module: Path) -> None:
    module.write_text("server = 1\n")

    assert _message(f"{module.stem}:serve").endswith("has no 'serve'; did you mean server?")


def test_something_else_than_an_app_is_refused() -> None:
    assert _message("connect.demo:hello") == (
        "connect.demo:hello is a function, not an App or a list of Apps"
    )


def test_a_list_of_apps_is_taken_from_the_working_directory(module: Path) -> None:
    module.write_text("from connect.worker import App\napps = [App('a'), App('b')]\n")

    assert [app.name for app in load_apps(f"{module.stem}:apps")] == ["a", "b"]


@pytest.mark.parametrize("value", ["[]", "[1]"])
def test_a_list_of_anything_else_is_refused(module: Path, value: str) -> None:
    module.write_text(f"apps = {value}\n")

    assert "is a list, not an App or a list of Apps" in _message(f"{module.stem}:apps")


def test_a_module_that_lacks_another_one_is_told_by_what_it_lacks(module: Path) -> None:
    module.write_text("import qqzzxxjjvvw\n")

    assert _message(f"{module.stem}:app") == (
        f"module {module.stem} cannot be imported: No module named 'qqzzxxjjvvw'"
    )


def test_a_module_that_raises_is_told_by_its_error(module: Path) -> None:
    module.write_text("1 / 0\n")

    assert _message(f"{module.stem}:app") == (
        f"module {module.stem} cannot be imported: ZeroDivisionError: division by zero"
    )
