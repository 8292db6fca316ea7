"""``functions match``: what an event starts."""

import json

import pytest

from tests.cli.functions.given import ORDER, REFUND, Answer, Run, refused, write


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
        name = "a\u202e"
        function = {"id": name, "name": "N", "triggers": [{"event": "b"}]}
        write("defs/order.cue", json.dumps(function))
        answer = run("match", "-", "defs/order.cue", stdin=json.dumps({"name": "\x1b[2J"}).encode())
        shown = "a\\u202e"
        assert answer.out == (
            f"not started  {shown} (defs/order.cue): it waits for 'b'\n"
            "\\x1b[2J starts 0 of 1 function\n"
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
