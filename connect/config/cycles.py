"""The order of steps as a graph: cycles in it, and its layers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

__all__ = ["Parents", "cycles", "layer_numbers"]

Parents: TypeAlias = Mapping[str, Sequence[str]]
"""For each step the steps that it comes after; names that are no keys are left out."""


def cycles(parents: Parents) -> tuple[tuple[str, ...], ...]:
    """Return the steps that wait for themselves, and a cycle of each group of several.

    Args:
        parents: any graph.

    Returns:
        Cycles as steps in the order in which they would run, beginning with the one that
        comes first in the graph; a step that comes after itself is a cycle of one.
    """
    place = {step: at for at, step in enumerate(parents)}
    found: list[tuple[str, ...]] = []
    for group in _groups(parents):
        found += [(step,) for step in group if step in parents[step]]
        if len(group) > 1:
            start = min(group, key=place.__getitem__)
            found.append(_cycle(start, set(group), parents))
    return tuple(sorted(found, key=lambda cycle: place[cycle[0]]))


def layer_numbers(parents: Parents) -> dict[str, int]:
    """Return for each step how many steps there are before it on the longest way.

    Args:
        parents: a graph without cycles.
    """
    numbers: dict[str, int] = {}
    for group in _groups(parents):  # a step's group comes after those of its parents
        [step] = group
        before = [numbers[parent] for parent in parents[step] if parent in parents]
        numbers[step] = max(before, default=-1) + 1
    return {step: numbers[step] for step in parents}


def _cycle(start: str, inside: set[str], parents: Parents) -> tuple[str, ...]:
    """Return a shortest cycle through a step, within its group."""
    towards = {start: start}  # for each step found so far, the next one on the way to start
    queue = [start]
    for step in queue:
        for parent in parents[step]:
            if parent == start != step:
                way = [start]
                while step != start:
                    way.append(step)
                    step = towards[step]
                return tuple(way)
            if parent in inside and parent not in towards:
                towards[parent] = step
                queue.append(parent)
    raise AssertionError("every step of a group is on a cycle")


def _groups(parents: Parents) -> Iterator[list[str]]:
    """Yield the strongly connected components, parents first (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    waiting: set[str] = set()
    for root in parents:
        if root in number:
            continue
        calls: list[tuple[str, Iterator[str]]] = [(root, iter(parents[root]))]
        while calls:
            step, rest = calls[-1]
            if step not in number:
                number[step] = low[step] = len(number)
                stack.append(step)
                waiting.add(step)
            for parent in rest:
                if parent not in parents:
                    continue
                if parent not in number:
                    calls.append((parent, iter(parents[parent])))
                    break
                if parent in waiting:
                    low[step] = min(low[step], number[parent])
            else:
                calls.pop()
                if calls:
                    caller = calls[-1][0]
                    low[caller] = min(low[caller], low[step])
                if low[step] == number[step]:
                    at = stack.index(step)
                    group = stack[at:]
                    del stack[at:]
                    waiting.difference_update(group)
                    yield group
