"""In what order steps run."""

from typing import Any

import pytest

from connect.config.definitions import After, Function
from connect.config.expressions import Outcome
from connect.config.steps import condition_outcome, ready_steps, step_layers


def made(**after: list[dict[str, Any]]) -> Function:
    """Return a function with these steps, and what each comes after."""
    steps = {key: {"id": key, "after": entries} for key, entries in after.items()}
    return Function.from_json({"id": "fn", "triggers": [{"event": "e"}], "steps": steps})


DIAMOND = made(
    end=[{"step": "left", "wait": "1m"}, {"step": "right", "wait": "1h"}],
    left=[{"step": "start", "if": "steps.start.ok"}],
    right=[{"step": "start", "async": {"ttl": "1d", "event": "e"}}],
    start=[{"step": "$trigger"}],
    alone=[],
)


@pytest.mark.parametrize(
    ("finished", "ready"),
    [
        ([], ["start", "alone"]),
        (["$trigger"], ["start", "alone"]),
        (["alone"], ["start"]),
        (["start"], ["left", "right", "alone"]),
        (["start", "left", "alone"], ["right"]),
        (["start", "left", "right"], ["end", "alone"]),
        (["left", "right"], ["end", "start", "alone"]),
        (["start", "left", "right", "end", "alone"], []),
    ],
)
def test_a_step_is_ready_when_all_that_it_comes_after_is_over(
    finished: list[str], ready: list[str]
) -> None:
    assert [step.step.id for step in ready_steps(DIAMOND, finished)] == ready


def test_a_ready_step_says_what_else_it_asks_for() -> None:
    left, right, _ = ready_steps(DIAMOND, ["start"])
    assert (left.conditional, left.awaiting) == (left.step.after, ())
    assert (right.conditional, right.awaiting) == ((), right.step.after)


def test_a_ready_step_waits_for_its_longest_wait() -> None:
    end, _ = ready_steps(DIAMOND, ["start", "left", "right"])
    assert end.wait_seconds == 3600


def test_a_step_that_there_is_not_cannot_be_over() -> None:
    with pytest.raises(ValueError, match=r"^'fn' has no step 'lefft'; did you mean 'left'\?$"):
        ready_steps(DIAMOND, ["start", "lefft"])


def test_one_text_is_no_collection_of_ids() -> None:
    with pytest.raises(TypeError, match=r"the text 'st'; expected a set of ids"):
        ready_steps(made(s=[], t=[]), "st")


def test_a_function_without_steps_has_none_ready() -> None:
    assert ready_steps(made(), []) == ()


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        (None, Outcome(True)),
        ("steps.a.ok && response.ok && event.data.n == 1", Outcome(True)),
        ("response.ok == false", Outcome(False)),
        ("steps.b.ok", Outcome(False, 'Key not found in map : "b"')),
    ],
)
def test_a_condition_sees_the_event_and_the_results(
    condition: str | None, outcome: Outcome
) -> None:
    event, results = {"data": {"n": 1}}, {"a": {"ok": True}}
    assert condition_outcome(After("a", condition), event, results) == outcome


def test_the_trigger_gives_no_response() -> None:
    assert condition_outcome(After("$trigger", "response == null"), {}, {}).holds


def test_layers_follow_the_longest_way() -> None:
    layers = [[step.id for step in layer] for layer in step_layers(DIAMOND)]
    assert layers == [["start", "alone"], ["left", "right"], ["end"]]
