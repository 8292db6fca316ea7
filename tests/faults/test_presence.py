"""When workers were away, in journals that are made up."""

import math
from typing import Any

from tests.faults.presence import absences, longest_absence


def line(at: float, what: str, connection: str) -> dict[str, Any]:
    return {"at": at, "what": what, "instance_id": "w1", "connection_id": connection}


def test_a_worker_is_away_from_its_last_connection_to_the_next() -> None:
    journal = [line(1, "connected", "a"), line(5, "disconnected", "a"), line(7, "connected", "b")]
    assert absences(journal)["w1"] == [(5, 7)]


def test_a_worker_with_another_connection_is_not_away() -> None:
    journal = [line(1, "connected", "a"), line(4, "connected", "b"), line(5, "disconnected", "a")]
    assert absences(journal)["w1"] == []


def test_a_worker_that_never_comes_back_is_away_for_ever() -> None:
    journal = [line(1, "connected", "a"), line(5, "disconnected", "a")]
    assert absences(journal)["w1"] == [(5, math.inf)]


def test_a_connection_that_never_opened_leaves_nobody_alone() -> None:
    assert absences([line(5, "disconnected", "a")])["w1"] == []


def test_an_absence_counts_whole_that_touches_the_time() -> None:
    assert longest_absence([(1, 2), (5, 9), (20, 99)], 8, 12) == 4


def test_no_absence_is_none() -> None:
    assert longest_absence([(1, 2)], 3, 4) == 0
