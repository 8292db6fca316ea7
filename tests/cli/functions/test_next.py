"""``functions next``: the times of cron triggers."""

import json

import pytest

from tests.cli.functions.given import ORDER, REFUND, Answer, Run, refused, write


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
        function = {"id": "a\u202e", "name": "F", "triggers": []}
        answer = run("next", "-", stdin=json.dumps(function).encode())
        assert answer.err == "a\\u202e has no cron triggers\n"

    def test_a_function_without_schedule_says_so(self, run: Run) -> None:
        answer = run("next", "-", stdin=REFUND.encode())
        assert answer == Answer(0, "", "refund has no cron triggers\n")
