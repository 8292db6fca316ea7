"""Documents read from files, and what cannot be read."""

import os
from pathlib import Path

from connect.config.cue.errors import Fault, FaultKind
from connect.config.cue.source import Source
from connect.config.reading import (
    decoded,
    files_within,
    is_absent,
    read_source,
    regular_bytes,
    unreadable,
)


def text(document: Source | Fault) -> str:
    assert isinstance(document, Source)
    return document.text


def fault(document: Source | Fault) -> Fault:
    assert isinstance(document, Fault)
    return document


def test_a_document_is_named_by_its_path_and_has_no_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.cue").write_bytes(b"\xef\xbb\xbfa: \xc3\xa9")
    document = read_source(tmp_path / "a.cue")
    assert isinstance(document, Source)
    assert (document.name, document.text) == (str(tmp_path / "a.cue"), "a: é")


def test_a_byte_order_mark_can_be_kept() -> None:
    assert text(decoded("a.cue", b"\xef\xbb\xbfa", keep_mark=True)) == "\ufeffa"


def test_what_is_no_utf8_is_told_by_byte_line_and_column() -> None:
    refused = fault(decoded("a.cue", "é\n".encode() * 2 + b"ab\xf0\x9f"))
    assert refused.kind is FaultKind.UNREADABLE
    assert refused.message == "not UTF-8 at byte 8; expected a text in UTF-8"
    assert str(refused.spans[0]) == "a.cue:3:3"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    refused = fault(read_source(tmp_path))
    assert refused.message == "cannot be read: Is a directory"
    assert str(refused.spans[0]) == f"{tmp_path}:1:1"


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.cue")
    refused = fault(read_source(tmp_path / "a.cue"))
    assert refused.message == "cannot be read: no regular file"


def test_a_link_to_a_regular_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.cue").write_bytes(b"a")
    (tmp_path / "b.cue").symlink_to("a.cue")
    assert regular_bytes(tmp_path / "b.cue") == b"a"


def test_what_reads_the_file_can_be_chosen() -> None:
    assert text(read_source(Path("pipe.cue"), lambda path: b"of " + bytes(path))) == "of pipe.cue"


def test_an_error_without_a_text_of_the_system_is_told_all_the_same() -> None:
    assert unreadable("a.cue", OSError("it is odd")).message == "cannot be read: it is odd"


def test_only_what_is_not_there_is_absent(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    assert not is_absent(tmp_path / "loop")
    assert not is_absent(tmp_path / "file")
    assert is_absent(tmp_path / "nothing")
    assert is_absent(tmp_path / "file" / "below")
    assert not is_absent(tmp_path / "loop" / "below")


def test_files_are_found_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b.cue", "a/z.cue", "a/b.txt", "c/a.cue"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to("..")
    found, faults = files_within(
        tmp_path, wanted=lambda name: name.endswith(".cue"), entered=lambda name: name != "c"
    )
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/z.cue", "b.cue"]
    assert faults == []
