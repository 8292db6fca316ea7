"""What workers run, in a journal that grows."""

from pathlib import Path

import pytest

from connect.worker import Happening, JournalEntry, JournalFile, RunEnd
from tests.faults.under_way import Running, UnderWay

STARTED = JournalEntry(what=Happening.STARTED, request_id="r1")
FINISHED = JournalEntry(what=Happening.FINISHED, request_id="r1", end=RunEnd.DONE)
CONNECTED = JournalEntry(what=Happening.CONNECTED, connection_id="c", detail="gateway-2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def note(path: Path, *entries: JournalEntry, worker: str = "w1") -> None:
    with JournalFile(path, now=lambda: 100.0) as file:
        for entry in entries:
            file.of(worker)(entry)


def test_nothing_runs_before_there_is_a_journal(path: Path) -> None:
    assert UnderWay(path).look() == []


def test_a_run_that_has_begun_goes_on(path: Path) -> None:
    note(path, CONNECTED, STARTED)
    assert UnderWay(path).look() == [Running("r1", "w1", 100.0, "gateway-2")]


def test_a_run_that_has_ended_since_the_last_look_is_over(path: Path) -> None:
    under_way = UnderWay(path)
    note(path, STARTED)
    under_way.look()
    note(path, FINISHED)
    assert under_way.look() == []


def test_the_end_of_another_worker_s_run_ends_none(path: Path) -> None:
    note(path, STARTED)
    note(path, FINISHED, worker="w2")
    assert [run.worker for run in UnderWay(path).look()] == ["w1"]


def test_half_a_line_is_read_when_it_is_whole(path: Path) -> None:
    note(path, STARTED)
    text = path.read_bytes()
    path.write_bytes(text[:20])
    under_way = UnderWay(path)
    before = under_way.look()
    path.write_bytes(text)
    assert (before, len(under_way.look())) == ([], 1)
