"""Definitions and events that cannot be read."""

import json
import os
import re
import threading
from pathlib import Path

import pytest

from tests.cli.functions.given import ORDER, REFUND, Run, write


class TestUnreadable:
    """A file that cannot be read is one more fault, and hides none."""

    def test_a_file_that_is_no_text_is_told_with_its_place(self, run: Run) -> None:
        Path("f.cue").write_bytes('a: 1 // é\nid: "é'.encode() + b'\xff"\n')
        answer = run("check", "f.cue")
        assert (answer.code, answer.out) == (1, "1 file checked, 0 functions fine\n")
        assert answer.err == (
            """\
f.cue:2:7: not UTF-8 at byte 18; expected a text in UTF-8
  2 | id: "é�"
    |       ^
1 fault in 1 file
"""
        )

    def test_so_is_a_standard_input(self, run: Run) -> None:
        for command in ("check", "show", "graph", "next"):
            answer = run(command, "-", stdin=b"a: \xff")
            assert answer.code == 1
            assert answer.err.startswith("<stdin>:1:4: not UTF-8 at byte 3; expected")

    def test_it_is_listed_beside_the_faults_of_other_files(self, run: Run) -> None:
        write("defs/a.json", REFUND.replace("shop/refund", "shop refund"))
        Path("defs/b.cue").write_bytes(b"\xff")
        write("defs/c.json", REFUND.replace("shop/", "shop*").replace('"refund"', '"again"'))
        write("defs/d.cue", ORDER)
        answer = run("check", "defs")
        assert answer.code == 1
        places = re.findall(r"(?m)^defs/(\S+):", answer.err)
        assert places == ["a.json:1:59", "b.cue:1:1", "c.json:1:58"]
        assert answer.err.endswith("3 faults in 3 files\n")
        assert answer.out == "4 files checked, 1 function fine\n"

    def test_json_has_it_too(self, run: Run) -> None:
        Path("a.cue").write_bytes(b"a: \xff")
        write("b.cue", ORDER)
        answer = run("check", "a.cue", "b.cue", "--json")
        outcome = json.loads(answer.out)
        assert (answer.code, outcome["files"], outcome["functions"]) == (1, 2, ["order"])
        assert outcome["faults"] == [
            {
                "kind": "unreadable",
                "message": "not UTF-8 at byte 3; expected a text in UTF-8",
                "path": [],
                "places": [
                    {"file": "a.cue", "line": 1, "column": 4, "end_line": 1, "end_column": 5}
                ],
            }
        ]

    def test_a_link_to_itself_or_to_nothing_is_a_fault(self, run: Run) -> None:
        write("defs/a.cue", ORDER)
        Path("defs/loop.cue").symlink_to("loop.cue")
        Path("defs/none.cue").symlink_to("nothing.cue")
        answer = run("check", "defs")
        assert answer.code == 1
        assert "defs/loop.cue:1:1: cannot be read: Too many levels of symbolic" in answer.err
        assert "defs/none.cue:1:1: cannot be read: No such file or directory" in answer.err
        assert answer.err.endswith("2 faults in 2 files\n")
        assert answer.out == "3 files checked, 1 function fine\n"

    def test_a_named_pipe_in_a_directory_is_a_fault_and_not_waited_for(self, run: Run) -> None:
        write("defs/a.cue", ORDER)
        os.mkfifo("defs/b.cue")
        answer = run("check", "defs")
        assert (answer.code, answer.out) == (1, "2 files checked, 1 function fine\n")
        assert answer.err.startswith("defs/b.cue:1:1: cannot be read: no regular file\n")

    def test_one_that_is_named_is_read(self, run: Run) -> None:
        os.mkfifo("pipe.cue")
        writer = threading.Thread(target=Path("pipe.cue").write_text, args=(ORDER,))
        writer.start()
        answer = run("check", "pipe.cue")
        writer.join()
        assert answer.out == "1 file checked, 1 function fine\n"

    def test_a_directory_within_itself_is_read_once(self, run: Run) -> None:
        write("defs/a.cue", ORDER)
        Path("defs/again").symlink_to(".")
        assert run("check", "defs").out == "1 file checked, 1 function fine\n"

    def test_a_file_without_permission_is_a_fault(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("defs/a.cue", ORDER)
        write("defs/b.cue", ORDER)
        read_bytes = Path.read_bytes

        def guarded(path: Path) -> bytes:
            if path.name == "a.cue":
                raise PermissionError(13, "Permission denied", str(path))
            return read_bytes(path)

        monkeypatch.setattr(Path, "read_bytes", guarded)
        answer = run("check", "defs")
        assert (answer.code, answer.out) == (1, "2 files checked, 1 function fine\n")
        assert answer.err.startswith("defs/a.cue:1:1: cannot be read: Permission denied\n")

    def test_a_directory_without_permission_is_a_fault(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("defs/a.cue", ORDER)
        write("defs/shut/b.cue", ORDER)
        scandir = os.scandir

        def guarded(path: str) -> object:
            if str(path).endswith("shut"):
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr("os.scandir", guarded)
        answer = run("check", "defs")
        assert (answer.code, answer.out) == (1, "1 file checked, 1 function fine\n")
        assert answer.err.startswith("defs/shut:1:1: cannot be read: Permission denied\n")

    def test_a_directory_that_holds_nothing_else_is_a_fault_all_the_same(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("shut").mkdir()

        def refusing(path: object) -> object:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("os.scandir", refusing)
        answer = run("check", "shut")
        assert (answer.code, answer.out) == (1, "0 files checked, 0 functions fine\n")
        assert answer.err.startswith("shut:1:1: cannot be read: Permission denied\n")

    def test_an_event_that_is_no_text_is_told_with_its_place(self, run: Run) -> None:
        write("f.cue", ORDER)
        Path("event.json").write_bytes(b'{"name":\n"\xff"}')
        answer = run("match", "event.json", "f.cue")
        assert answer.code == 2
        assert answer.err.startswith(
            "connect: the event cannot be used\n"
            "event.json:2:2: not UTF-8 at byte 10; expected a text in UTF-8\n"
        )
