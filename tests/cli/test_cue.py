"""``connect cue``: evaluating, formatting and checking documents."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from connect.cli import main

Run = Callable[..., "Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: bytes = b"") -> Answer:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main(["cue", *arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 1, captured.out, captured.err)

    return run


def write(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8", newline="")


def read(name: str) -> str:
    return Path(name).read_bytes().decode("utf-8")


class TestEval:
    def test_the_value_is_printed_as_json(self, run: Run) -> None:
        write("a.cue", '#A: n: int | *1\na: #A\nb: [1.50, null]\nc: "x\\(a.n)é"\n_d: 2\n')
        answer = run("eval", "a.cue")
        assert (answer.code, answer.err) == (0, "")
        assert answer.out == (
            '{\n  "a": {\n    "n": 1\n  },\n  "b": [\n    1.50,\n    null\n  ],\n  "c": "x1é"\n}\n'
        )

    def test_the_standard_input_is_read_for_a_dash(self, run: Run) -> None:
        assert json.loads(run("eval", "-", stdin=b"a: 1 + 1").out) == {"a": 2}

    def test_the_definitions_can_be_imported(self, run: Run) -> None:
        text = b'import "inngest.com/defs/v1"\na: v1.#CronTrigger & {cron: "* * * * *"}\n'
        assert json.loads(run("eval", "-", stdin=text).out) == {"a": {"cron": "* * * * *"}}

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("a", {"b": [1, {"c": 2}]}),
            ("a.b[1].c", 2),
            ('"x y"', 3),
            ("#D", {"e": 4}),
            ('a["b"]', [1, {"c": 2}]),
        ],
    )
    def test_a_part_is_printed_where_asked(self, run: Run, path: str, value: object) -> None:
        write("a.cue", 'a: b: [1, {c: 2}]\n"x y": 3\n#D: e: 4\n')
        assert json.loads(run("eval", "a.cue", "-e", path).out) == value

    def test_a_path_that_leads_nowhere_suggests_the_nearest(self, run: Run) -> None:
        write("a.cue", "a: log: 1\n")
        answer = run("eval", "a.cue", "-e", "a.lgo")
        assert answer == Answer(
            2, "", "connect cue eval: a.lgo: there is no 'lgo' in a; did you mean 'log'?\n"
        )

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("1 + 1", "'1 + 1' is no path; write one such as a.b[0]"),
            (
                "a.",
                "'a.' is no path: expected a selector such as .name or .\"a name\", "
                "found the end of the document",
            ),
        ],
    )
    def test_what_is_no_path_is_wrong_usage(self, run: Run, path: str, message: str) -> None:
        answer = run("eval", "-", "-e", path, stdin=b"a: 1")
        assert answer == Answer(2, "", f"connect cue eval: {message}\n")

    def test_cue_shows_what_is_not_concrete_too(self, run: Run) -> None:
        answer = run("eval", "-", "--out", "cue", stdin=b"a: int, foo: {b: >1}, c: a | *2")
        assert answer.code == 0
        assert answer.out == "a: int\nfoo: {\n\tb: >1\n}\nc: *2 | int\n"

    def test_a_document_that_is_wrong_shows_every_fault(self, run: Run) -> None:
        write("a.cue", 'a: int & "x"\nb: string\n')
        answer = run("eval", "a.cue")
        assert (answer.code, answer.out) == (1, "")
        assert "a.cue:1:10: a: conflicting values" in answer.err
        assert "a.cue:2:4: b: incomplete value string" in answer.err
        assert answer.err.endswith("2 faults in 1 file\n")

    def test_so_does_one_that_is_no_cue(self, run: Run) -> None:
        answer = run("eval", "-", stdin=b"a: [1 2]\n")
        assert answer == Answer(
            1,
            "",
            "<stdin>:1:7: expected ',' or ']' behind an element, found 2\n"
            "  1 | a: [1 2]\n    |       ^\n1 fault in 1 file\n",
        )

    def test_a_document_that_is_wrong_does_not_show_its_secrets(self, run: Run) -> None:
        write("a.cue", 'password: int & "hunter2" // was: redis://u:hunter2@h\n')
        for answer in (run("eval", "a.cue"), run("vet", "a.cue"), run("vet", "a.cue", "--json")):
            assert answer.code == 1
            assert "a.cue" in answer.out + answer.err
            assert "hunter2" not in answer.out + answer.err

    def test_what_cannot_be_read_is_wrong_usage(self, run: Run) -> None:
        answer = run("eval", "none.cue")
        assert answer.code == 2
        assert answer.err == "connect: there is no file or directory none.cue\n"

    @pytest.mark.parametrize("command", [["eval", "-"], ["vet", "-"], ["fmt", "-"]])
    def test_what_is_not_utf8_is_a_fault_of_the_document(
        self, command: list[str], run: Run
    ) -> None:
        answer = run(*command, stdin=b"b: 1\na: \xff")
        assert answer == Answer(
            1,
            "",
            "<stdin>:2:4: not UTF-8 at byte 8; expected a text in UTF-8\n"
            "  2 | a: �\n    |    ^\n1 fault in 1 file\n",
        )

    def test_a_schema_that_is_not_utf8_is_told_as_json(self, run: Run) -> None:
        answer = run("vet", "-", "--json", stdin=b"\xff")
        assert answer.code == 1
        [fault] = json.loads(answer.out)
        assert (fault["kind"], fault["places"][0]["file"]) == ("unreadable", "<stdin>")


class TestFmt:
    def test_files_are_rewritten_in_place(self, run: Run) -> None:
        write("a.cue", "a:1\r\nfoo :2 // b\r\n")
        write("b.cue", "a: 1\n")
        os.chmod("a.cue", 0o640)
        answer = run("fmt", "a.cue", "b.cue")
        assert answer == Answer(0, "", "1 file reformatted, 1 left unchanged\n")
        assert read("a.cue") == "a:   1\nfoo: 2 // b\n"
        assert os.stat("a.cue").st_mode & 0o777 == 0o640
        assert sorted(os.listdir()) == ["a.cue", "b.cue"]

    def test_a_directory_stands_for_the_cue_files_below(self, run: Run) -> None:
        os.makedirs("d/e")
        write("d/e/a.cue", "a:1")
        write("d/b.json", '{"a":1}')
        assert run("fmt", "d").code == 0
        assert (read("d/e/a.cue"), read("d/b.json")) == ("a: 1\n", '{"a":1}')

    def test_a_link_stays_one(self, run: Run) -> None:
        write("a.cue", "a:1")
        os.symlink("a.cue", "b.cue")
        run("fmt", "b.cue")
        assert os.path.islink("b.cue")
        assert read("a.cue") == "a: 1\n"

    def test_a_dash_filters(self, run: Run) -> None:
        assert run("fmt", "-", stdin=b"a:1") == Answer(0, "a: 1\n", "")

    def test_check_names_what_would_change(self, run: Run) -> None:
        write("a.cue", "a:1")
        write("b.cue", "a: 1\n")
        answer = run("fmt", "--check", "a.cue", "b.cue")
        assert answer == Answer(1, "a.cue\n", "1 file would be reformatted, 1 left unchanged\n")
        assert read("a.cue") == "a:1"

    def test_check_of_formatted_files_is_fine(self, run: Run) -> None:
        write("b.cue", "a: 1\n")
        assert run("fmt", "--check", "b.cue").code == 0

    def test_diff_shows_what_would_change(self, run: Run) -> None:
        write("a.cue", "a:1\nb: 2")
        answer = run("fmt", "--diff", "a.cue")
        assert answer.code == 1
        assert answer.out == "--- a.cue\n+++ a.cue\n@@ -1,2 +1,2 @@\n-a:1\n-b: 2\n+a: 1\n+b: 2\n"
        assert read("a.cue") == "a:1\nb: 2"

    def test_a_faulty_file_stays_and_the_others_do_not(self, run: Run) -> None:
        write("a.cue", "a:}")
        write("b.cue", "a:1")
        answer = run("fmt", "a.cue", "b.cue")
        assert answer.code == 1
        assert "a.cue:1:3: '}' closes nothing" in answer.err
        assert (read("a.cue"), read("b.cue")) == ("a:}", "a: 1\n")

    def test_json_is_refused(self, run: Run) -> None:
        write("a.json", '{"a":1}')
        answer = run("fmt", "a.json")
        assert answer == Answer(
            2, "", "connect cue fmt: a.json: JSON cannot be formatted as CUE and stay JSON\n"
        )

    def test_what_cannot_be_written_is_told(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("a.cue", "a:1")

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "replace", refuse)
        answer = run("fmt", "a.cue")
        assert answer.code == 2
        assert "Permission denied" in answer.err
        assert os.listdir() == ["a.cue"]

    def test_what_cannot_be_written_hides_no_fault(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("a.cue", "a: [\n")
        write("b.cue", "b:1")

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "replace", refuse)
        answer = run("fmt", "a.cue", "b.cue")
        assert answer.code == 2
        assert "a.cue:" in answer.err
        assert "Permission denied" in answer.err

    def test_a_file_that_cannot_be_read_keeps_no_other_from_being_formatted(self, run: Run) -> None:
        Path("d").mkdir()
        Path("d/a.cue").write_bytes(b"a:1 // \xff")
        Path("d/b.cue").symlink_to("b.cue")
        write("d/c.cue", "c: [\n")
        write("d/e.cue", "e:1")
        answer = run("fmt", "d")
        assert answer.code == 1
        assert read("d/e.cue") == "e: 1\n"
        assert "d/a.cue:1:8: not UTF-8 at byte 7" in answer.err
        assert "d/b.cue:1:1: cannot be read: Too many levels of symbolic links" in answer.err
        assert "d/c.cue:" in answer.err
        assert answer.err.endswith(
            "1 file reformatted, 0 left unchanged, 3 could not be formatted\n"
        )

    def test_a_named_pipe_in_a_directory_is_a_fault_and_not_waited_for(self, run: Run) -> None:
        Path("defs").mkdir()
        os.mkfifo("defs/a.cue")
        answer = run("fmt", "defs")
        assert answer.code == 1
        assert answer.err.startswith("defs/a.cue:1:1: cannot be read: no regular file\n")

    def test_a_directory_that_cannot_be_read_is_a_fault(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.makedirs("d/shut")
        write("d/a.cue", "a: 1\n")
        scandir = os.scandir

        def guarded(path: str) -> object:
            if str(path).endswith("shut"):
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr("os.scandir", guarded)
        answer = run("fmt", "d")
        assert answer.code == 1
        assert "d/shut:1:1: cannot be read: Permission denied" in answer.err

    def test_a_path_that_is_not_there_is_wrong_usage_and_changes_nothing(self, run: Run) -> None:
        write("a.cue", "a:1")
        answer = run("fmt", "a.cue", "none.cue")
        assert (answer.code, read("a.cue")) == (2, "a:1")
        assert "none.cue" in answer.err


class TestVet:
    SCHEMA = "#Item: {n: int, name?: string}\nm: >1\n"

    def test_data_that_satisfies_the_schema_is_fine(self, run: Run) -> None:
        write("s.cue", self.SCHEMA)
        write("d.json", '{"n": 1}')
        write("e.cue", 'n: 2, name: "x"')
        assert run("vet", "s.cue", "d.json", "e.cue", "-d", "#Item") == Answer(0, "", "")

    def test_all_of_the_schema_is_meant_without_a_definition(self, run: Run) -> None:
        write("s.cue", self.SCHEMA)
        assert run("vet", "s.cue", "-", stdin=b"m: 2").code == 0
        assert run("vet", "s.cue", "-", stdin=b"m: 1").code == 1

    def test_the_faults_of_all_files_are_shown(self, run: Run) -> None:
        write("s.cue", self.SCHEMA)
        write("d.json", '{"n": "x", "nmae": 1}')
        write("e.cue", "n: ]")
        answer = run("vet", "s.cue", "d.json", "e.cue", "-d", "#Item")
        assert (answer.code, answer.out) == (1, "")
        assert "n: conflicting values" in answer.err
        assert "nmae" in answer.err
        assert "e.cue:1:4: ']' closes nothing" in answer.err

    def test_a_fault_is_placed_in_the_data(self, run: Run) -> None:
        write("s.cue", '#Kind: {kind: "a" | "b"}')
        first, *_ = run("vet", "s.cue", "-", "-d", "#Kind", stdin=b'kind: "c"').err.splitlines()
        assert first.startswith("<stdin>:1:7: kind: ")

    def test_what_the_data_lacks_is_placed_around_it(self, run: Run) -> None:
        write("s.cue", self.SCHEMA)
        first, *_ = run("vet", "s.cue", "-", "-d", "#Item", stdin=b'name: "x"').err.splitlines()
        assert first.startswith("<stdin>:1:1: n: not given")

    def test_data_must_be_concrete(self, run: Run) -> None:
        write("s.cue", self.SCHEMA)
        assert "incomplete" in run("vet", "s.cue", "-", "-d", "#Item", stdin=b"name: string").err

    def test_a_schema_alone_need_not_be(self, run: Run) -> None:
        write("s.cue", self.SCHEMA)
        assert run("vet", "s.cue") == Answer(0, "", "")

    def test_but_must_not_be_wrong(self, run: Run) -> None:
        assert run("vet", "-", stdin=b"#A: 1 & 2").code == 1

    def test_faults_are_printed_as_json_where_asked(self, run: Run) -> None:
        write("s.cue", self.SCHEMA)
        answer = run("vet", "s.cue", "-", "--json", stdin=b"m: 1")
        assert (answer.code, answer.err) == (1, "")
        (fault,) = json.loads(answer.out)
        assert fault["path"] == ["m"]
        assert {place["file"] for place in fault["places"]} == {"s.cue", "<stdin>"}

    def test_without_faults_json_is_an_empty_list(self, run: Run) -> None:
        write("s.cue", self.SCHEMA)
        assert run("vet", "s.cue", "--json") == Answer(0, "[]\n", "")

    def test_a_schema_that_is_no_cue_is_told_once(self, run: Run) -> None:
        write("s.cue", "a: }")
        write("d.json", "{}")
        assert run("vet", "s.cue", "d.json").err.endswith("1 fault in 1 file\n")

    def test_a_definition_that_is_not_there_is_wrong_usage(self, run: Run) -> None:
        write("s.cue", self.SCHEMA)
        answer = run("vet", "s.cue", "-d", "#Itm")
        assert answer.code == 2
        assert "there is no '#Itm'; did you mean '#Item'?" in answer.err
