"""Which document is the configuration."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from connect.config.finding import PLACES, Document, DocumentRule, find_document, read_text
from connect.errors import ConfigurationError


def files(**contents: str) -> Callable[[Path], str | None]:
    """Stand for a file system: the names' `__` is a slash, `_` a dot."""
    paths = {
        Path(name.replace("__", "/").replace("_", ".")): text for name, text in contents.items()
    }
    return paths.get


VARIABLE = {"INNGEST_CONFIG": "{}"}


@pytest.mark.parametrize("name", ["own.cue", "own.json", "some/where/own.cue"])
def test_an_explicit_path_is_read_as_it_is(name: str) -> None:
    def read(path: Path) -> str | None:
        return "text" if path == Path(name) else "another"

    found = find_document(name, environment=VARIABLE, read=read)
    assert found == Document(name, "text", DocumentRule.EXPLICIT)


def test_an_explicit_path_that_is_missing_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no file or directory own\.cue"):
        find_document("own.cue", environment=VARIABLE, read=files(inngest_cue="{}"))


@pytest.mark.parametrize("name", ["own.yaml", "own", "cue", ""])
def test_an_explicit_path_with_another_ending_is_an_error(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"neither a \.cue nor a \.json file"):
        find_document(name, environment={}, read=files())


@pytest.mark.parametrize("missing", range(4))
def test_the_first_place_that_exists_wins(missing: int) -> None:
    there = {path: str(path) for path in PLACES[missing:]}
    found = find_document(None, environment=VARIABLE, read=there.get)
    name = ["inngest.cue", "inngest.json", "/etc/inngest.cue", "/etc/inngest.json"][missing]
    assert found == Document(name, name, DocumentRule.PLACE)


def test_an_empty_file_wins_too() -> None:
    found = find_document(None, environment=VARIABLE, read=files(inngest_cue="", inngest_json="x"))
    assert found == Document("inngest.cue", "", DocumentRule.PLACE)


def test_without_a_file_the_variable_holds_the_document() -> None:
    found = find_document(None, environment=VARIABLE, read=files())
    assert found == Document("$INNGEST_CONFIG", "{}", DocumentRule.VARIABLE)


@pytest.mark.parametrize("environment", [{}, {"INNGEST_CONFIG": ""}])
def test_without_anything_the_document_is_empty(environment: dict[str, str]) -> None:
    found = find_document(None, environment=environment, read=files())
    assert (found.text, found.rule) == ("", DocumentRule.NONE)


def test_that_there_is_no_document_is_a_warning() -> None:
    assert find_document(None, environment={}, read=files()).warning == (
        "no configuration: none of inngest.cue, inngest.json, /etc/inngest.cue, "
        "/etc/inngest.json exists and INNGEST_CONFIG is not set; all defaults"
    )


def test_a_document_that_is_there_is_no_warning() -> None:
    assert find_document(None, environment=VARIABLE, read=files()).warning is None


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.cue").write_bytes(b"\xef\xbb\xbf{\xc3\xa9: 1}")
    assert read_text(tmp_path / "a.cue") == "{é: 1}"


def test_a_file_that_is_missing_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_text(tmp_path / "a.cue") is None
    assert read_text(tmp_path / "file" / "a.cue") is None


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot read {tmp_path}: Is a directory"):
        read_text(tmp_path)


def test_a_named_pipe_is_an_error_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.cue")
    with pytest.raises(ConfigurationError, match=r"cannot read .*a\.cue: no regular file"):
        read_text(tmp_path / "a.cue")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.cue").write_bytes(b"{\xff}")
    with pytest.raises(ConfigurationError, match="not UTF-8 at byte 1"):
        read_text(tmp_path / "a.cue")
