"""Settling the memory of a process, in a process of its own: it holds for all of it."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import gc, json, weakref
from connect.memory import settle_memory

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

before = cycle()
settle_memory()
later = cycle()
gc.collect()
print(json.dumps({
    "frozen": gc.get_freeze_count(),
    "young": len(gc.get_objects()),
    "threshold": gc.get_threshold()[0],
    "garbage_before": before() is not None,
    "garbage_later": later() is not None,
}))
"""


@pytest.fixture(scope="module")
def settled() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_there_is_then_is_not_looked_at_again(settled: dict[str, Any]) -> None:
    assert settled["frozen"] > 10 * settled["young"]


def test_collections_become_rarer(settled: dict[str, Any]) -> None:
    assert settled["threshold"] == 10_000


def test_garbage_of_before_and_of_later_is_collected(settled: dict[str, Any]) -> None:
    assert (settled["garbage_before"], settled["garbage_later"]) == (False, False)


def test_nothing_is_settled_by_importing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import gc, connect.app; print(gc.get_freeze_count())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "0"
