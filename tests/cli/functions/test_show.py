"""``functions show`` and ``functions graph``."""

import json
import sys

import pytest

from tests.cli.functions.given import ORDER, Run, write
from tests.config.test_loader import CASES


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
