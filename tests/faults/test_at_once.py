"""How many runs there are at once in journals that are made up."""

from typing import Any

from tests.faults.at_once import most_at_once


def line(what: str, request: str, worker: str = "w1") -> dict[str, Any]:
    return {"what": what, "instance_id": worker, "request_id": request}


def test_runs_that_overlap_are_counted_together() -> None:
    journal = [line("started", "a"), line("started", "b"), line("finished", "a")]
    assert most_at_once([*journal, line("started", "c")]) == {"w1": 2}


def test_runs_one_after_the_other_are_one_at_once() -> None:
    journal = [line("started", "a"), line("finished", "a"), line("started", "b")]
    assert most_at_once(journal) == {"w1": 1}


def test_each_worker_is_counted_by_itself() -> None:
    journal = [line("started", "a"), line("started", "b", "w2")]
    assert most_at_once(journal) == {"w1": 1, "w2": 1}
