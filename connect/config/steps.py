"""In what order the steps of a function run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from connect.config.checks import UNDER_AFTER
from connect.config.cycles import layer_numbers
from connect.config.definitions import TRIGGER, After, Function, Step
from connect.config.expressions import Expression, Outcome
from connect.config.faults import nearest

__all__ = ["ReadyStep", "condition_outcome", "ready_steps", "step_layers"]


@dataclass(frozen=True, slots=True)
class ReadyStep:
    """A step all of whose predecessors are over.

    It runs if every condition of its `after` holds, after the waits that these ask for.

    Attributes:
        step: the step.
        wait_seconds: the longest `wait`; 0 if it need not wait.
        conditional: the entries of `after` that have a condition.
        awaiting: the entries of `after` that wait for an event.
    """

    step: Step
    wait_seconds: float
    conditional: tuple[After, ...]
    awaiting: tuple[After, ...]


def ready_steps(function: Function, finished: Collection[str]) -> tuple[ReadyStep, ...]:
    """Return the steps that are next, once others are over.

    A step that comes after several steps is ready when all of them are over; one that
    comes after nothing, or after the trigger, is ready at once. What to do about a
    condition that does not hold is the caller's to say: a step left out may be counted
    among those that are over, or not, and then what follows it never runs.

    Args:
        finished: the ids of the steps that are over.

    Returns:
        The steps that are ready and not among them, in the order of the definition.

    Raises:
        ValueError: one of the ids is no step's.
        TypeError: the ids are one text, which would be taken for its letters.
    """
    if isinstance(finished, str):
        raise TypeError(f"the finished steps are the text {finished!r}; expected a set of ids")
    over = {*finished, TRIGGER}
    ids = [step.id for step in function.steps]
    for unknown in sorted(over.difference(ids, (TRIGGER,))):
        near = nearest(unknown, ids)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"{function.id!r} has no step {unknown!r}{hint}")
    return tuple(
        ReadyStep(
            step=step,
            wait_seconds=max((after.wait_seconds for after in step.after), default=0.0),
            conditional=tuple(after for after in step.after if after.condition is not None),
            awaiting=tuple(after for after in step.after if after.awaited is not None),
        )
        for step in function.steps
        if step.id not in over and over.issuperset(step.parents)
    )


def condition_outcome(
    after: After, event: Mapping[str, object], results: Mapping[str, object]
) -> Outcome:
    """Return whether the condition of an entry of `after` holds.

    Args:
        event: the event that started the run, decoded JSON.
        results: by step id, what the steps that are over returned.

    Returns:
        The outcome; no condition always holds.

    Raises:
        ExpressionError: the condition is neither true nor false.
    """
    if after.condition is None:
        return Outcome(True)
    return Expression(after.condition, UNDER_AFTER).outcome(
        event=event, steps=results, response=results.get(after.step)
    )


def step_layers(function: Function) -> tuple[tuple[Step, ...], ...]:
    """Return the steps by how many steps come before them on the longest way.

    Returns:
        The layers, first the steps that run first; in each the order of the definition.
    """
    numbers = layer_numbers({step.id: step.parents for step in function.steps})
    layers: list[list[Step]] = [[] for _ in range(max(numbers.values(), default=-1) + 1)]
    for step in function.steps:
        layers[numbers[step.id]].append(step)
    return tuple(map(tuple, layers))
