"""What ``serve`` and ``dev`` are given: settings and function definitions, read together."""

from pathlib import Path

import click
import pytest

from connect.cli.given import GivenReader
from connect.cli.serve import serve
from connect.reloading import FaultyInput

ECHO = 'function: {id: "echo", name: "Echo", triggers: []}'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory with no variables set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.environ", {})
    return tmp_path


def reader(*arguments: str) -> GivenReader:
    return GivenReader(serve.make_context("serve", list(arguments)))


def test_settings_and_definitions_are_read(folder: Path) -> None:
    (folder / "echo.cue").write_text(ECHO)
    given = reader("--functions", "echo.cue", "--log-level=debug").read()
    assert given.settings.log.level == "debug"
    assert list(given.functions) == ["echo"]


def test_all_paths_may_follow_one_flag(folder: Path) -> None:
    (folder / "echo.cue").write_text(ECHO)
    (folder / "other.cue").write_text(ECHO.replace('"echo"', '"other"'))
    given = reader("--functions", "echo.cue", "other.cue").read()
    assert list(given.functions) == ["echo", "other"]


def test_paths_without_the_flag_are_wrong_usage() -> None:
    with pytest.raises(click.UsageError, match=r"unexpected extra argument \(echo\.cue\)"):
        reader("echo.cue")


def test_without_definitions_none_are_loaded() -> None:
    given = reader().read()
    assert len(given.functions) == 0
    assert given.warnings == ()


def test_the_lack_of_a_document_is_told_apart_from_warnings() -> None:
    absent = reader().read().no_document
    assert absent is not None
    assert absent.startswith("no configuration")


def test_a_directory_without_definitions_is_warned_of(folder: Path) -> None:
    (folder / "defs").mkdir()
    (folder / "defs" / "common.cue").write_text("x: 1")
    assert reader("--functions", "defs").read().warnings == (
        "defs/common.cue has no field `function` and is passed over",
        "there are no function definitions in defs",
    )


def test_faults_of_the_configuration_and_of_definitions_are_told_together(folder: Path) -> None:
    (folder / "inngest.cue").write_text("{log: level: 5}")
    (folder / "echo.cue").write_text(ECHO.replace('"Echo"', "5"))
    with pytest.raises(FaultyInput) as error:
        reader("--functions", "echo.cue").read()
    document, definition = error.value.faults
    assert document.startswith("inngest.cue:1:14: log.level: ")
    assert definition.startswith("echo.cue:1:30: function.name: ")
    assert str(error.value).startswith("the configuration cannot be used\ninngest.cue:1:14: ")
    assert "\nthe function definitions cannot be used\necho.cue:1:30: " in str(error.value)


def test_it_reads_again_what_has_changed(folder: Path) -> None:
    (folder / "echo.cue").write_text(ECHO)
    reading = reader("--functions", "echo.cue")
    reading.read()
    (folder / "echo.cue").write_text(ECHO.replace('"Echo"', '"Echoes"'))
    assert reading.read().functions["echo"].function.name == "Echoes"
    (folder / "echo.cue").write_text("function: 5")
    with pytest.raises(FaultyInput):
        reading.read()
    (folder / "echo.cue").write_text(ECHO)
    assert reading.read().functions["echo"].function.name == "Echo"


def test_a_file_that_cannot_be_read_hides_no_fault_of_another(folder: Path) -> None:
    (folder / "defs").mkdir()
    (folder / "defs" / "a.cue").write_bytes(b"\xff")
    (folder / "defs" / "b.cue").write_text("function: {")
    (folder / "inngest.cue").write_text('config: log: level: "loud"')
    with pytest.raises(FaultyInput) as refused:
        reader("--functions", "defs").read()
    document, first, second = refused.value.faults
    assert document.startswith("inngest.cue:1:21: ")
    assert first == "defs/a.cue:1:1: not UTF-8 at byte 0; expected a text in UTF-8"
    assert second.startswith("defs/b.cue:1:12: ")


def test_a_path_that_does_not_exist_hides_no_fault_of_the_configuration(folder: Path) -> None:
    (folder / "inngest.cue").write_text("{log: level: 5}")
    with pytest.raises(FaultyInput) as refused:
        reader("--functions", "no.cue").read()
    document, path = refused.value.faults
    assert document.startswith("inngest.cue:1:14: ")
    assert path == "there is no file or directory no.cue"
    assert str(refused.value).endswith("\nthere is no file or directory no.cue")


def test_a_flag_that_cannot_be_hides_no_fault_of_definitions(folder: Path) -> None:
    (folder / "echo.cue").write_text("function: 5")
    with pytest.raises(FaultyInput) as refused:
        reader("--functions", "echo.cue", "--set=x=1").read()
    flag, definition = refused.value.faults
    assert flag.startswith("--set x: there is no such setting")
    assert definition.startswith("echo.cue:1:11: ")


def test_what_is_wrong_besides_the_document_is_told_once(folder: Path) -> None:
    (folder / "inngest.cue").write_text("{log: level: 5}")
    with pytest.raises(FaultyInput) as refused:
        reader("--set=x=1").read()
    assert len(refused.value.faults) == 2
    assert str(refused.value).count("--set x") == 1


def test_a_document_that_is_gone_is_a_fault(folder: Path) -> None:
    document = folder / "inngest.cue"
    document.write_text('{connect: tenant: session_secret: "s"}')
    reading = reader()
    reading.read()
    document.rename(folder / "gone.cue")
    with pytest.raises(FaultyInput) as refused:
        reading.read()
    assert refused.value.faults == (
        "the configuration inngest.cue is gone; "
        "put it back, or restart the service to run without it",
    )


def test_a_document_that_takes_the_place_of_another_is_read(folder: Path) -> None:
    (folder / "inngest.cue").write_text("{}")
    reading = reader()
    reading.read()
    (folder / "inngest.cue").unlink()
    (folder / "inngest.json").write_text('{"log": {"level": "debug"}}')
    assert reading.read().settings.log.level == "debug"


def test_without_a_document_from_the_start_none_is_missed() -> None:
    reading = reader()
    reading.read()
    assert reading.read().no_document is not None


def test_paths_that_do_not_exist_hide_no_fault_of_definitions(folder: Path) -> None:
    (folder / "echo.cue").write_text("function: 5")
    with pytest.raises(FaultyInput) as refused:
        reader("--functions", "no.cue", "echo.cue", "nor.cue").read()
    first, second, definition = refused.value.faults
    assert first == "there is no file or directory no.cue"
    assert second == "there is no file or directory nor.cue"
    assert definition.startswith("echo.cue:1:11: ")
