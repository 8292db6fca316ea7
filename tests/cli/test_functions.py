"""``connect functions``: check, show and try function definitions."""

import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from connect.cli import main
from tests.config.test_loader import CASES

Run = Callable[..., "Answer"]

ORDER = """function: {
	id:   "order"
	name: "Order"
	triggers: [
		{event: "shop/order.*", expression: "event.data.total > 0"},
		{cron: "TZ=Europe/Berlin 0 9 * * 1", jitter: "60s"},
	]
	steps: {
		reserve: runtime: {type: "http", url: "https://example.com"}
		charge: after: [{step: "reserve"}]
	}
}
"""
REFUND = '{"id": "refund", "name": "Refund", "triggers": [{"event": "shop/refund"}]}'


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
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main(["functions", *arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 1, captured.out, captured.err)

    return run


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def refused(answer: Answer) -> str:
    """What wrong usage is answered with: one line, and exit code 2."""
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.endswith("\n")
    [line] = answer.err.splitlines()
    return line


class TestCheck:
    def test_definitions_without_fault_are_counted(self, run: Run) -> None:
        write("defs/order.cue", ORDER)
        write("defs/below/refund.json", REFUND)
        assert run("check", "defs") == Answer(0, "2 files checked, 2 functions fine\n", "")

    def test_one_definition_is_counted_too(self, run: Run) -> None:
        write("order.cue", ORDER)
        assert run("check", "order.cue").out == "1 file checked, 1 function fine\n"

    def test_the_standard_input_can_be_one(self, run: Run) -> None:
        write("order.cue", ORDER)
        answer = run("check", "-", "order.cue", stdin=REFUND.encode())
        assert answer.out == "2 files checked, 2 functions fine\n"

    def test_faults_of_the_standard_input_say_so(self, run: Run) -> None:
        answer = run("check", "-", stdin=b'{"name": "F", "id": 1}')
        assert answer.err.startswith("<stdin>:1:21: id: conflicting values")

    def test_a_file_of_a_directory_without_function_is_named(self, run: Run) -> None:
        write("defs/order.cue", ORDER)
        write("defs/common.cue", "topic: 1")
        answer = run("check", "defs")
        assert answer.code == 0
        assert answer.err == "note: defs/common.cue has no field `function` and is passed over\n"

    def test_every_fault_of_every_file_is_told(self, run: Run) -> None:
        write("defs/a.cue", 'function: {id: "a", nmae: "A", triggers: [{event: "a b"}]}')
        write("defs/b.json", REFUND.replace("shop/refund", "shop refund"))
        write("defs/c.cue", ORDER)
        answer = run("check", "defs")
        assert answer.code == 1
        assert answer.out == "3 files checked, 1 function fine\n"
        assert 'defs/a.cue:1:21: function.nmae: field not allowed: nmae; did you mean "name"?' in (
            answer.err
        )
        assert "defs/b.json:1:59: triggers[0].event: a name of events has no" in answer.err
        assert answer.err.endswith("3 faults in 2 files\n")

    def test_no_fault_is_left_out_because_there_are_many(self, run: Run) -> None:
        triggers = ", ".join('{event: "a b"}' for _ in range(120))
        write("a.cue", f'function: {{id: "a", name: "A", triggers: [{triggers}]}}')
        answer = run("check", "a.cue")
        assert answer.err.count("has no spaces") == 120
        assert answer.err.endswith("\n120 faults in 1 file\n")

    def test_json_gives_functions_faults_and_what_was_passed_over(self, run: Run) -> None:
        write("defs/a.cue", ORDER)
        write("defs/b.cue", 'function: {id: "b", name: 5, triggers: []}')
        write("defs/c.cue", "x: 1")
        answer = run("check", "defs", "--json")
        outcome = json.loads(answer.out)
        assert (answer.code, answer.err) == (1, "")
        assert outcome["files"] == 2
        assert outcome["functions"] == ["order"]
        assert outcome["passed_over"] == ["defs/c.cue"]
        [fault] = outcome["faults"]
        assert fault["path"] == ["function", "name"]
        assert fault["places"][0] == {
            "file": "defs/b.cue", "line": 1, "column": 27, "end_line": 1, "end_column": 28,
        }  # fmt: skip

    def test_json_without_fault_exits_with_0(self, run: Run) -> None:
        write("a.cue", ORDER)
        answer = run("check", "a.cue", "--json")
        assert answer.code == 0
        assert json.loads(answer.out)["faults"] == []

    def test_progress_is_shown_for_many_files_on_a_terminal(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(20):
            write(f"defs/{number:02}.json", REFUND.replace('"refund"', f'"refund-{number}"'))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        answer = run("check", "defs")
        assert answer.code == 0
        assert "\r\x1b[K20 of 20 files\r\x1b[K" in answer.err

    def test_progress_of_few_files_is_not_shown(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("a.cue", ORDER)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert run("check", "a.cue").err == ""


# Each class of faults, with all that the command prints of it.
GOLDEN = {
    "syntax": (
        'function: {\n\tid: "f\n}\n',
        """\
f.cue:2:6: a string is not closed: expected "
  2 |     id: "f
    |         ^^
1 fault in 1 file
""",
    ),
    "import": (
        'import "strngs"\n\nfunction: {id: "f", name: strngs.ToLower("F"), triggers: []}\n',
        """\
f.cue:1:8: cannot find package "strngs"; did you mean "strings"?
  1 | import "strngs"
    |        ^^^^^^^^
1 fault in 1 file
""",
    ),
    "reference": (
        '_topic: "a"\nfunction: {id: "f", name: "F", triggers: [{event: _topc}]}\n',
        """\
f.cue:2:51: function.triggers[0].event: reference "_topc" not found; did you mean "_topic"?
  2 | function: {id: "f", name: "F", triggers: [{event: _topc}]}
    |                                                   ^^^^^
1 fault in 1 file
""",
    ),
    "unknown field": (
        'function: {\n\tid: "f", name: "F"\n\ttriggers: []\n\tconcurency: 5\n}\n',
        """\
f.cue:4:2: function.concurency: field not allowed: concurency; did you mean "concurrency"?
  4 |     concurency: 5
    |     ^^^^^^^^^^
1 fault in 1 file
""",
    ),
    "bound": (
        'function: {\n\tid: "f", name: "F", triggers: []\n\tsteps: a: retries: attempts: 21\n}\n',
        """\
f.cue:3:31: function.steps.a.retries.attempts: invalid value 21 (out of bound <=20)
  3 |     steps: a: retries: attempts: 21
    |                                  ^^
  and here: SCHEMA
1 fault in 1 file
""",
    ),
    "conflict": (
        'function: {\n\tid: "f", name: "F", triggers: []\n}\nfunction: name: "G"\n',
        """\
f.cue:4:17: function.name: conflicting values "F" and "G"
  4 | function: name: "G"
    |                 ^^^
  and here: f.cue:2:17
  2 |     id: "f", name: "F", triggers: []
    |                    ^^^
1 fault in 1 file
""",
    ),
    "incomplete": (
        'function: {id: "f", name: string, triggers: []}\n',
        """\
f.cue:1:27: function.name: incomplete value string: expected a concrete string
  1 | function: {id: "f", name: string, triggers: []}
    |                           ^^^^^^
  and here: SCHEMA
1 fault in 1 file
""",
    ),
    "cycle of values": (
        '_a: _b + 1\n_b: _a + 1\nfunction: {id: "f", name: "F", concurrency: _a, triggers: []}\n',
        """\
f.cue:1:5: function.concurrency: cycle error: the value refers to itself
  1 | _a: _b + 1
    |     ^^
1 fault in 1 file
""",
    ),
    "missing field": (
        'functon: {id: "f", name: "F", triggers: []}\n',
        """\
f.cue:1:1: there is no field `function`; is functon meant to be it?
  1 | functon: {id: "f", name: "F", triggers: []}
    | ^^^^^^^
1 fault in 1 file
""",
    ),
    "empty": (
        "",
        """\
f.cue:1:1: there is no field `function`
  1 |
    | ^
1 fault in 1 file
""",
    ),
    "list": (
        '[{"id": "f", "name": "F", "triggers": []}]\n',
        """\
f.cue:1:1: a list; expected one function, {…} or a field `function`
  1 | [{"id": "f", "name": "F", "triggers": []}]
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
1 fault in 1 file
""",
    ),
    "event": (
        'function: {id: "f", name: "F", triggers: [{event: "a*b"}]}\n',
        """\
f.cue:1:51: function.triggers[0].event: a star may only end a pattern, as in 'shop/order.*'
  1 | function: {id: "f", name: "F", triggers: [{event: "a*b"}]}
    |                                                   ^^^^^
1 fault in 1 file
""",
    ),
    "expression": (
        'function: {id: "f", name: "F", triggers: [\n'
        '\t{event: "a", expression: "evnt.n == 1"},\n]}\n',
        """\
f.cue:2:27: function.triggers[0].expression: undeclared reference to 'evnt'; there is event; \
did you mean 'event'? (line 1, column 1)
  2 |     {event: "a", expression: "evnt.n == 1"},
    |                              ^^^^^^^^^^^^^
1 fault in 1 file
""",
    ),
    "cron": (
        'function: {id: "f", name: "F", triggers: [{cron: "61 * * * *"}]}\n',
        """\
f.cue:1:50: function.triggers[0].cron: '61' is no minute of a cron expression; expected 0 to 59
  1 | function: {id: "f", name: "F", triggers: [{cron: "61 * * * *"}]}
    |                                                  ^^^^^^^^^^^^
1 fault in 1 file
""",
    ),
    "duration": (
        'function: {id: "f", name: "F", triggers: []\n\tthrottle: period: "1 h"}\n',
        """\
f.cue:2:20: function.throttle.period: unknown unit ' h'; units are w, d, h, m, s, ms, us and ns; \
expected something like 10s, 1h30m, 500ms or 7d
  2 |     throttle: period: "1 h"}
    |                       ^^^^^
1 fault in 1 file
""",
    ),
    "step": (
        'function: {id: "f", name: "F", triggers: []\n'
        '\tsteps: {one: {}, two: after: [{step: "on"}]}}\n',
        """\
f.cue:2:39: function.steps.two.after[0].step: there is no step 'on'; did you mean 'one'?
  2 |     steps: {one: {}, two: after: [{step: "on"}]}}
    |                                          ^^^^
1 fault in 1 file
""",
    ),
    "cycle of steps": (
        'function: {id: "f", name: "F", triggers: []\n'
        '\tsteps: {a: after: [{step: "b"}], b: after: [{step: "a"}]}}\n',
        """\
f.cue:2:28: function.steps.a.after[0].step: steps form a cycle: a → b → a
  2 |     steps: {a: after: [{step: "b"}], b: after: [{step: "a"}]}}
    |                               ^^^
1 fault in 1 file
""",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_a_fault_is_told_with_place_line_and_what_would_be_right(name: str, run: Run) -> None:
    text, expected = GOLDEN[name]
    write("f.cue", text)
    answer = run("check", "f.cue")
    # Where the definitions themselves say so is theirs to change.
    told = re.sub(r"(?<=and here: )inngest\.com.*\n.*\n.*", "SCHEMA", answer.err)
    told = re.sub(r"(?m)^ +(?=[0-9] \|)", "  ", re.sub(r"(?m)^ +\|", "    |", told))
    assert told == expected
    assert (answer.code, answer.out) == (1, "1 file checked, 0 functions fine\n")


def test_an_id_that_is_used_twice_is_told_with_both_places(run: Run) -> None:
    write("a.json", REFUND)
    write("b.json", REFUND)
    assert run("check", "a.json", "b.json").err == (
        """\
b.json:1:8: id: another function has the same id
  1 | {"id": "refund", "name": "Refund", "triggers": [{"event": "shop/refund"}]}
    |        ^^^^^^^^
  and here: a.json:1:8
  1 | {"id": "refund", "name": "Refund", "triggers": [{"event": "shop/refund"}]}
    |        ^^^^^^^^
1 fault in 1 file
"""
    )


def test_a_document_that_takes_too_long_is_told(run: Run) -> None:
    text = 'import "list"\n_n: list.Range(0, 3000, 1)\nfunction: {id: "f", name: "F", triggers: [\n'
    write("f.cue", text + 'for x in _n for y in _n {event: "a"}]}\n')
    answer = run("check", "f.cue")
    assert answer.code == 1
    assert re.match(r"f\.cue:\d+:\d+: function\.triggers: the evaluation takes more", answer.err)


class TestUsage:
    def test_no_path_is_wrong_usage(self, run: Run) -> None:
        assert "Missing argument" in refused(run("check"))

    def test_a_path_that_is_not_there_is_told(self, run: Run) -> None:
        assert refused(run("check", "nope")) == "connect: there is no file or directory nope"

    @pytest.mark.parametrize("command", ["show", "graph", "next"])
    def test_a_file_that_is_not_there_is_told(self, command: str, run: Run) -> None:
        assert refused(run(command, "no.cue")) == "connect: there is no file or directory no.cue"

    @pytest.mark.parametrize("arguments", [["check"], ["show"], ["match", "event.json"]])
    def test_an_empty_path_is_not_the_current_directory(
        self, arguments: list[str], run: Run
    ) -> None:
        write("event.json", '{"name": "a"}')
        assert "connect: an empty path; expected a file" in refused(run(*arguments, ""))

    def test_an_event_without_a_path_is_refused(self, run: Run) -> None:
        assert refused(run("match", "", ".")) == "connect: an empty path; expected a file"

    def test_a_directory_is_no_file_to_show(self, run: Run) -> None:
        Path("defs").mkdir()
        line = refused(run("show", "defs"))
        assert line == "connect: defs is a directory; expected one .cue or .json file"

    @pytest.mark.parametrize("command", ["check", "show"])
    def test_a_file_of_another_kind_is_refused(self, command: str, run: Run) -> None:
        write("f.yaml", "")
        line = refused(run(command, "f.yaml"))
        assert line == "connect: f.yaml is neither a .cue nor a .json file"

    def test_a_directory_without_definitions_is_not_fine(self, run: Run) -> None:
        Path("defs").mkdir()
        line = refused(run("check", "defs"))
        assert line == "connect: there is no .cue or .json file in defs"

    def test_an_unknown_command_is_told(self, run: Run) -> None:
        assert "chek" in refused(run("chek"))


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


class TestShow:
    def test_json_is_the_value_of_the_field(self, run: Run) -> None:
        case = CASES / "function" / "fnflow_realistic_signup.cue"
        answer = run("show", str(case), "--json")
        assert answer.code == 0
        assert json.loads(answer.out) == json.loads(case.with_suffix(".want.json").read_text())

    def test_cue_has_the_defaults_and_is_a_definition_again(self, run: Run) -> None:
        write("order.cue", ORDER)
        answer = run("show", "order.cue")
        assert answer.out.startswith('function: {\n\tid:   "order"\n\tname: "Order"\n')
        assert 'path: ""' in answer.out
        again = run("show", "-", stdin=answer.out.encode())
        assert again.out == answer.out

    def test_a_value_that_lies_deep_is_shown_all_the_same(self, run: Run) -> None:
        schema = '{"a":' * 60 + "1" + "}" * 60
        definition = f'{{format: "cue", synced: false, def: {schema}}}'
        trigger = f'{{event: "a", definition: {definition}}}'
        write("f.cue", f'function: {{id: "f", name: "F", triggers: [{trigger}]}}')
        answer = run("show", "f.cue")
        assert answer.code == 0
        again = run("show", "-", "--json", stdin=answer.out.encode())
        assert json.loads(again.out) == json.loads(run("show", "f.cue", "--json").out)

    def test_faults_are_told_instead(self, run: Run) -> None:
        answer = run("show", "-", "--json", stdin=b"{}")
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith("<stdin>:1:1: id: not given")

    def test_what_only_check_finds_is_told_in_notes(self, run: Run) -> None:
        write("f.cue", 'function: {id: "f", name: "F", triggers: [{cron: "x"}]}')
        answer = run("show", "f.cue", "--json")
        assert answer.code == 0
        assert json.loads(answer.out)["triggers"] == [{"cron": "x"}]
        assert answer.err == (
            "note: f.cue:1:50: function.triggers[0].cron: 1 field; expected 5 or 6, "
            "such as '*/5 * * * *'\n"
        )


class TestGraph:
    def test_the_terminal_gets_a_tree(self, run: Run) -> None:
        write("order.cue", ORDER)
        assert run("graph", "order.cue").out.endswith("└─▶ reserve\n    └─▶ charge\n")

    def test_a_terminal_without_unicode_gets_ascii(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("order.cue", ORDER)
        monkeypatch.setattr(type(sys.stdout), "encoding", "latin-1")
        assert run("graph", "order.cue").out.endswith("`-> reserve\n    `-> charge\n")

    def test_mermaid_and_dot_are_printed_on_request(self, run: Run) -> None:
        write("order.cue", ORDER)
        assert run("graph", "order.cue", "--format", "mermaid").out.startswith("flowchart TD\n")
        assert run("graph", "order.cue", "--format=dot").out.startswith('digraph "order" {\n')

    def test_a_faulty_definition_is_not_drawn(self, run: Run) -> None:
        answer = run("graph", "-", stdin=b'function: {id: "f", name: "F", triggers: [{cron: "x"}]}')
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.endswith("1 fault in 1 file\n")


class TestNext:
    def test_times_are_told_in_utc_and_in_the_triggers_zone(self, run: Run) -> None:
        write("order.cue", ORDER)
        answer = run("next", "order.cue", "--count=2", "--after=2030-03-28T00:00:00Z")
        assert answer == Answer(
            0,
            "TZ=Europe/Berlin 0 9 * * 1  (up to 60s later)\n"
            "  2030-04-01T07:00:00Z  Mon 2030-04-01 09:00:00 CEST\n"
            "  2030-04-08T07:00:00Z  Mon 2030-04-08 09:00:00 CEST\n",
            "",
        )

    def test_json_tells_the_latest_time_too(self, run: Run) -> None:
        write("order.cue", ORDER)
        answer = run("next", "order.cue", "--count=1", "--after=2030-03-28", "--json")
        assert json.loads(answer.out) == [
            {
                "cron": "TZ=Europe/Berlin 0 9 * * 1",
                "jitter": "60s",
                "times": [{"at": "2030-04-01T07:00:00Z", "latest": "2030-04-01T07:01:00Z"}],
            }
        ]

    def test_without_a_time_it_is_from_now_on(self, run: Run) -> None:
        cron = b'{"id": "f", "name": "F", "triggers": [{"cron": "* * * * *"}]}'
        answer = run("next", "-", stdin=cron)
        assert len(answer.out.splitlines()) == 6

    def test_a_time_that_is_none_is_wrong_usage(self, run: Run) -> None:
        line = refused(run("next", "order.cue", "--after=soon"))
        assert "'soon' is no time; expected one such as 2030-01-31T12:00:00Z" in line

    @pytest.mark.parametrize("time", ["0001-06-01", "0001-01-01T00:00:00+14:00"])
    def test_a_time_before_all_calendars_is_wrong_usage(self, time: str, run: Run) -> None:
        assert f"'{time}' is " in refused(run("next", "order.cue", f"--after={time}"))

    def test_after_the_last_time_there_is_none(self, run: Run) -> None:
        cron = b'{"id": "f", "name": "F", "triggers": [{"cron": "* * * * *"}]}'
        answer = run("next", "-", "--after=9500-01-01", stdin=cron)
        assert answer.out == "* * * * *\n  never again\n"

    def test_what_a_terminal_would_obey_is_escaped(self, run: Run) -> None:
        function = {"id": "\x1b[2J", "name": "F", "triggers": []}
        answer = run("next", "-", stdin=json.dumps(function).encode())
        assert answer.err == "\\x1b[2J has no cron triggers\n"

    def test_a_function_without_schedule_says_so(self, run: Run) -> None:
        answer = run("next", "-", stdin=REFUND.encode())
        assert answer == Answer(0, "", "refund has no cron triggers\n")


class TestMatch:
    @pytest.fixture(autouse=True)
    def definitions(self, run: Run) -> None:
        write("defs/order.cue", ORDER)
        write("defs/refund.json", REFUND)

    def test_functions_are_told_that_it_starts_and_why_not_the_others(self, run: Run) -> None:
        write("event.json", '{"name": "shop/order.created", "data": {"total": 5}}')
        assert run("match", "event.json", "defs") == Answer(
            0,
            "started      order (defs/order.cue): on shop/order.* if event.data.total > 0\n"
            "not started  refund (defs/refund.json): it waits for 'shop/refund'\n"
            "shop/order.created starts 1 of 2 functions\n",
            "",
        )

    def test_every_trigger_that_does_not_match_says_why(self, run: Run) -> None:
        event = b'{"name": "shop/order.created", "data": {"total": 0}}'
        line = run("match", "-", "defs/order.cue", stdin=event).out.splitlines()[0]
        assert line == (
            "not started  order (defs/order.cue): 'event.data.total > 0' does not hold; "
            "it runs by the schedule 'TZ=Europe/Berlin 0 9 * * 1'"
        )

    def test_what_a_terminal_would_obey_is_escaped(self, run: Run) -> None:
        name = "a\x1b[2J\u202e\r\n"
        function = {"id": name, "name": "N", "triggers": [{"event": "b"}]}
        write("defs/order.cue", json.dumps(function))
        answer = run("match", "-", "defs/order.cue", stdin=json.dumps({"name": name}).encode())
        shown = "a\\x1b[2J\\u202e\\r\\n"
        assert answer.out == (
            f"not started  {shown} (defs/order.cue): it waits for 'b'\n"
            f"{shown} starts 0 of 1 function\n"
        )

    def test_json_tells_the_same(self, run: Run) -> None:
        write("event.json", '{"name": "shop/refund"}')
        order, refund = json.loads(run("match", "event.json", "defs", "--json").out)
        assert refund == {
            "function": "refund",
            "file": "defs/refund.json",
            "starts": True,
            "trigger": "shop/refund",
            "mismatches": [],
        }
        assert (order["starts"], order["trigger"]) == (False, None)
        assert [mismatch["trigger"] for mismatch in order["mismatches"]] == [
            "shop/order.*",
            "TZ=Europe/Berlin 0 9 * * 1",
        ]

    def test_an_event_has_what_the_service_adds_to_it(self, run: Run) -> None:
        condition = "event.user == {} && event.data == {} && event.ts > 0 && event.id == ''"
        trigger = f'{{event: "a", expression: "{condition}"}}'
        write("f.cue", f'function: {{id: "f", name: "F", triggers: [{trigger}]}}')
        answer = run("match", "-", "f.cue", stdin=b'{"name": "a", "data": null}')
        assert answer.out.endswith("a starts 1 of 1 function\n")

    @pytest.mark.parametrize(
        ("event", "fault"),
        [
            (b"{", "1:2: not JSON: found the end, expected a string or }"),
            (b'{"name": "a", "ts": NaN}', "1:21: not JSON: found 'N', expected a value"),
            (b'{"name": "\\ud800"}', "1:10: not JSON: half of a surrogate pair in a string"),
            (b"[" * 300, "1:201: not JSON: more than 200 open brackets"),
            (b"[]", "1:1: no event; expected one JSON object"),
            (b"", "1:1: not JSON: found the end, expected a value"),
            (b"{}", "1:1: name: missing; expected a non-empty string"),
            (b'{"name": ""}', "1:10: name: an empty string; expected a non-empty string"),
            (b'{"name": false}', "1:10: name: a boolean; expected a non-empty string"),
            (b'{"name": "a", "data": 5}', "1:23: data: a number; expected an object"),
            (b'{"name": "a", "data": []}', "1:23: data: a list; expected an object"),
            (b'{"name": "a",\n"user": 0}', "2:9: user: a number; expected an object"),
            (b'{"name": "a", "id": 1}', "1:21: id: a number; expected a string"),
            (b'{"name": "a", "ts": "x"}', "1:21: ts: a string; expected unix milliseconds"),
            (b'{"name": "a", "ts": 1.5}', "1:21: ts: a number; expected unix milliseconds"),
            (b'{"name": "a", "ts": true}', "1:21: ts: a boolean; expected unix milliseconds"),
            (b'{"name": "a", "data": {"n": 1e400}}', "1:29: a number too large to express"),
        ],
    )
    def test_what_is_no_event_is_refused_at_its_place(
        self, event: bytes, fault: str, run: Run
    ) -> None:
        answer = run("match", "-", "defs", stdin=event)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(f"connect: the event cannot be used\n<stdin>:{fault}")
        assert answer.err.endswith("1 fault in 1 file\n")

    def test_of_an_event_every_fault_is_told_with_its_line(self, run: Run) -> None:
        event = '{"id": 5,\n "data": {"data": {}, "ts": "x", "n": [1.5]},\n "ts": "x"}'
        write("event.json", event)
        assert run("match", "event.json", "defs").err == (
            """\
connect: the event cannot be used
event.json:1:1: name: missing; expected a non-empty string
  1 | {"id": 5,
    | ^
event.json:1:8: id: a number; expected a string
  1 | {"id": 5,
    |        ^
event.json:3:8: ts: a string; expected unix milliseconds, a whole number
  3 |  "ts": "x"}
    |        ^^^
3 faults in 1 file
"""
        )

    def test_null_is_as_good_as_nothing(self, run: Run) -> None:
        event = b'{"name": "shop/refund", "data": null, "user": null, "id": null, "ts": null}'
        answer = run("match", "-", "defs", stdin=event)
        assert answer.out.endswith("shop/refund starts 1 of 2 functions\n")

    def test_an_event_that_is_not_there_is_told(self, run: Run) -> None:
        assert (
            refused(run("match", "no.json", "defs"))
            == "connect: there is no file or directory no.json"
        )

    def test_the_standard_input_cannot_be_both(self, run: Run) -> None:
        assert "not both" in refused(run("match", "-", "-"))

    def test_nothing_is_matched_with_a_faulty_definition(self, run: Run) -> None:
        write("defs/wrong.cue", "function: 5")
        answer = run("match", "-", "defs", stdin=b'{"name": "a"}')
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith("defs/wrong.cue:1:11: ")
