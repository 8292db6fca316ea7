"""Journals in files: what is in them, and what they prove."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from connect.errors import ConfigurationError
from connect.worker import (
    Happening,
    JournalEntry,
    JournalFile,
    Overlap,
    RunEnd,
    find_overlaps,
    read_journal,
)

STARTED = JournalEntry(
    what=Happening.STARTED,
    connection_id="c1",
    request_id="r1",
    run_id="run-1",
    function="app-f",
    detail="lease-1",
)


def _open(path: Path) -> JournalFile:
    return JournalFile(path, now=lambda: 1700.1234567)


def test_an_entry_is_one_line_with_its_time_and_ids(tmp_path: Path) -> None:
    with _open(tmp_path / "journal") as journal:
        journal.of("w1")(STARTED)

    assert json.loads((tmp_path / "journal").read_text()) == {
        "at": 1700.123457,
        "what": "started",
        "instance_id": "w1",
        "connection_id": "c1",
        "request_id": "r1",
        "run_id": "run-1",
        "function": "app-f",
        "detail": "lease-1",
    }


def test_a_finish_says_how(tmp_path: Path) -> None:
    with _open(tmp_path / "journal") as journal:
        journal.of("w1")(JournalEntry(what=Happening.FINISHED, end=RunEnd.LEASE_LOST))

    (line,) = read_journal(tmp_path / "journal")
    assert line["end"] == "lease lost"


def test_an_entry_is_in_the_file_at_once(tmp_path: Path) -> None:
    with _open(tmp_path / "journal") as journal:
        journal.of("w1")(STARTED)

        assert len(read_journal(tmp_path / "journal")) == 1


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    for instance in ("w1", "w2"):
        with _open(tmp_path / "journal") as journal:
            journal.of(instance)(STARTED)

    assert [line["instance_id"] for line in read_journal(tmp_path / "journal")] == ["w1", "w2"]


def test_after_a_line_that_a_crash_cut_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text('{"at": 1, "what": "sta')
    with _open(path) as journal:
        journal.of("w1")(STARTED)

    assert [line["instance_id"] for line in read_journal(path)] == ["w1"]


def test_lines_that_are_no_objects_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text('1\n\n{"what": "started"}\n')

    assert read_journal(path) == [{"what": "started"}]


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "journal"

    with pytest.raises(ConfigurationError) as raised:
        _open(path)

    assert str(raised.value) == f"the journal {path} cannot be opened: No such file or directory"


def test_lost_entries_are_counted_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    write, full = os.write, OSError("no space")

    def fail(file: int, data: bytes) -> int:
        raise full

    with _open(path) as journal:
        append = journal.of("w1")
        append(STARTED)
        monkeypatch.setattr(os, "write", fail)
        append(STARTED)
        append(STARTED)
        monkeypatch.setattr(os, "write", write)
        append(STARTED)

    whats = [(line["what"], line.get("count")) for line in read_journal(path)]
    assert whats == [("started", None), ("entries lost", 2), ("started", None)]


def test_after_an_entry_that_was_cut_short_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "journal", os.write
    with _open(path) as journal:
        append = journal.of("w1")
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
        append(STARTED)
        monkeypatch.setattr(os, "write", write)
        append(STARTED)

    whats = [line["what"] for line in read_journal(path)]
    assert whats == ["entries lost", "started"]


def _line(at: float, what: str, instance: str, request: str = "r1") -> dict[str, Any]:
    return {"at": at, "what": what, "instance_id": instance, "request_id": request}


def test_runs_one_after_the_other_do_not_overlap() -> None:
    lines = [
        _line(1, "started", "a"),
        _line(2, "finished", "a"),
        _line(2, "started", "b"),
        _line(3, "finished", "b"),
    ]

    assert find_overlaps(lines) == []


def test_runs_of_different_requests_do_not_overlap() -> None:
    lines = [_line(1, "started", "a"), _line(2, "started", "b", "r2")]

    assert find_overlaps(lines) == []


def test_a_run_that_begins_before_another_has_ended_overlaps_it() -> None:
    lines = [
        _line(1, "started", "a"),
        _line(4, "finished", "a"),
        _line(3, "started", "b"),
        _line(9, "finished", "b"),
    ]

    assert find_overlaps(lines) == [Overlap("r1", "a", "b", 3, 1)]


def test_the_order_of_workers_in_the_lines_does_not_matter() -> None:
    lines = [
        _line(3, "started", "b"),
        _line(9, "finished", "b"),
        _line(1, "started", "a"),
        _line(4, "finished", "a"),
    ]

    assert find_overlaps(lines) == [Overlap("r1", "a", "b", 3, 1)]


def test_a_run_that_never_finished_goes_on() -> None:
    lines = [_line(1, "started", "a"), _line(3, "started", "b"), _line(9, "finished", "b")]

    assert find_overlaps(lines) == [Overlap("r1", "a", "b", 3, 6)]


def test_a_run_ends_with_the_worker_that_was_killed() -> None:
    lines = [_line(1, "started", "a"), _line(3, "started", "b"), _line(9, "finished", "b")]
    killed = {"a": 2.0}

    assert find_overlaps(lines, ended=killed.get) == []


def test_a_short_run_within_a_long_one_does_not_hide_the_next() -> None:
    lines = [
        _line(1, "started", "a"),
        _line(2, "started", "b"),
        _line(3, "finished", "b"),
        _line(4, "started", "c"),
        _line(5, "finished", "c"),
        _line(6, "finished", "a"),
    ]

    assert [(one.first, one.second) for one in find_overlaps(lines)] == [("a", "b"), ("a", "c")]


def test_a_worker_that_runs_a_request_again_after_its_end_is_told_apart() -> None:
    lines = [
        _line(1, "started", "a"),
        _line(2, "finished", "a"),
        _line(5, "started", "a"),
        _line(6, "finished", "a"),
    ]

    assert find_overlaps(lines) == []


def test_two_runs_that_never_end_overlap_without_end() -> None:
    lines = [_line(1, "started", "a"), _line(3, "started", "b")]

    assert find_overlaps(lines)[0].seconds == math.inf


def test_other_lines_are_no_runs() -> None:
    lines = [_line(1, "request", "a"), _line(2, "request", "b"), {"at": 1, "what": "connected"}]

    assert find_overlaps(lines) == []


def test_an_end_without_a_beginning_is_no_run() -> None:
    lines = [_line(1, "finished", "a"), _line(2, "started", "b"), _line(3, "finished", "a")]

    assert find_overlaps(lines) == []
