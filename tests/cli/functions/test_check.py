"""``functions check``: what is right and what is not."""

import json
import sys

import pytest

from tests.cli.functions.given import ORDER, REFUND, Answer, Run, write


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
