"""Package ``list``: parts of lists, sums, ranges, order, and validators of length and content."""

import decimal
from collections.abc import Callable
from decimal import Decimal
from functools import cmp_to_key
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias

from connect.config.cue.numbers import (
    Number,
    arithmetic_context,
    as_decimal,
    by_value,
    number_text,
)
from connect.config.cue.packages.arguments import is_opaque, may_become, numbers_of, strings_of
from connect.config.cue.packages.signature import Signatures
from connect.config.cue.sequences import repeat
from connect.config.cue.values import (
    RESULT_LIMIT,
    BuiltinError,
    Concrete,
    CueMember,
    Kind,
    NotConcrete,
    Package,
    check_size,
    kind_of,
)

__all__ = ["PACKAGE"]

Unify: TypeAlias = Callable[[Concrete, Concrete], Concrete]

# Up to this length a list is sorted by insertion, as Go does: only then two orders agree
# whatever a comparison that is no order answers.
_INSERTION_SORT = 12

_CONTEXT = arithmetic_context()


# Parts


def _drop(values: list[Concrete], count: int) -> list[Concrete]:
    _check_count(count)
    return values[count:]


def _take(values: list[Concrete], count: int) -> list[Concrete]:
    _check_count(count)
    return values[:count]


def _slice(values: list[Concrete], start: int, end: int) -> list[Concrete]:
    if not 0 <= start <= end <= len(values):
        raise BuiltinError(
            f"index out of range: {start} to {end} of {len(values)} elements;"
            f" expected 0 <= start <= end <= {len(values)}"
        )
    return values[start:end]


def _check_count(count: int) -> None:
    if count < 0:
        raise BuiltinError(f"negative count {count}; it must be 0 or more")


def _repeat(values: list[Concrete], count: int, *, limit: int = RESULT_LIMIT) -> list[Concrete]:
    return repeat(values, count, limit)


def _concat(lists: list[Concrete], *, limit: int = RESULT_LIMIT) -> list[Concrete]:
    result: list[Concrete] = []
    for index, values in enumerate(lists):
        if not isinstance(values, list):
            raise _no_list(values, f"element {index} is")
        check_size(len(result) + len(values), limit, "elements")
        result += values
    return result


def _flatten_n(values: Concrete, depth: int, *, limit: int = RESULT_LIMIT) -> list[Concrete]:
    """Flatten `depth` levels, all of them if it is negative, however deep they are."""
    if not isinstance(values, list):
        raise _no_list(values, "the argument is")
    result: list[Concrete] = []
    levels = [iter(values)]
    while levels:
        for value in levels[-1]:
            if isinstance(value, list) and (depth < 0 or len(levels) <= depth):
                levels.append(iter(value))
                break
            check_size(len(result) + 1, limit, "elements")
            result.append(value)
        else:
            levels.pop()
    return result


def _no_list(value: Concrete, subject: str) -> BuiltinError:
    if may_become(value, Kind.LIST):
        return NotConcrete(f"{subject} not a concrete list")
    return BuiltinError(f"{subject} of type {kind_of(value)}; expected a list")


# Validators


def _min_items(values: list[Concrete], least: int) -> bool:
    return len(values) >= least


def _max_items(values: list[Concrete], most: int) -> bool:
    return len(values) <= most


def _unique_items(values: list[Concrete]) -> bool:
    seen = {_flat(value, _text_key) for value in values}
    return len(seen) == len(values)


def _text_key(value: Concrete) -> object:
    """Return what stands for the text of a value: v0.4.2 compares that, ``1`` with ``1.0`` too.

    Values that are not concrete have a text too: two elements `int` are the same. Fields of
    structs come in their order.
    """
    match value:
        case bool() | None | str() | bytes():
            return type(value), value
        case int() | Decimal():
            return number_text(value)
        case list():
            return list, len(value)
        case dict():
            return dict, *value
        case _:
            return value.cue_text


def _contains(values: list[Concrete], wanted: Concrete) -> bool:
    if is_opaque(wanted):
        raise NotConcrete("the value to look for is not concrete")
    key = _flat(wanted, _equal_key)
    return any(_flat(value, _equal_key) == key for value in values)


def _equal_key(value: Concrete) -> object:
    """Return what is equal for equal values, which are of the same kind."""
    match value:
        case list():
            return list, len(value)
        case dict():
            return dict, *sorted(value)
        case _ if is_opaque(value):
            return value
        case _:
            return kind_of(value), value


def _flat(value: Concrete, key: Callable[[Concrete], object]) -> tuple[object, ...]:
    """Return the keys of a value and of all that is in it, in an order that equal ones share."""
    keys: list[object] = []
    pending = [value]
    while pending:
        part = pending.pop()
        keys.append(key(part))
        if isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            pending += [part[label] for label in sorted(part)]
    return tuple(keys)


# Sums


def _sum(values: list[Concrete]) -> Number:
    return _fold(_CONTEXT.add, Decimal(0), values)


def _product(values: list[Concrete]) -> Number:
    return _fold(_CONTEXT.multiply, Decimal(1), values)


def _fold(
    operation: Callable[[Decimal, Decimal], Decimal], start: Decimal, values: list[Concrete]
) -> Number:
    result = start
    try:
        for number in numbers_of(values):
            result = operation(result, number)
    except decimal.DecimalException:
        raise BuiltinError("the result's exponent is out of range") from None
    return by_value(result)


def _avg(values: list[Concrete]) -> Number:
    _check_some(values)
    total = as_decimal(_sum(values))
    return by_value(_CONTEXT.divide(total, Decimal(len(values))))


def _max(values: list[Concrete]) -> Number:
    _check_some(values)
    return by_value(max(numbers_of(values)))


def _min(values: list[Concrete]) -> Number:
    _check_some(values)
    return by_value(min(numbers_of(values)))


def _check_some(values: list[Concrete]) -> None:
    if not values:
        raise BuiltinError("empty list; expected at least one number")


def _range(start: Number, end: Number, step: Number, *, limit: int = RESULT_LIMIT) -> list[Number]:
    """Return `start`, `start` + `step` … until `end`, which is excluded."""
    if not step:
        raise BuiltinError("step must be non zero")
    if (step > 0 and end < start) or (step < 0 and end > start):
        relation, sign = ("greater", "positive") if step > 0 else ("less", "negative")
        raise BuiltinError(f"end must be {relation} than start when step is {sign}")
    result: list[Number] = []
    number, last, by = as_decimal(start), as_decimal(end), as_decimal(step)
    try:
        count = _CONTEXT.divide(_CONTEXT.subtract(last, number), by)
        check_size(int(min(count, Decimal(limit + 1))), limit, "elements")
        while number < last if by > 0 else number > last:
            check_size(len(result) + 1, limit, "elements")
            result.append(by_value(number))
            before, number = number, _CONTEXT.add(number, by)
            if number == before:
                raise BuiltinError(f"the step is too small to change {number_text(number)}")
    except decimal.DecimalException:
        raise BuiltinError("a number's exponent is out of range") from None
    return result


# Order


def _less(unify: Unify, comparer: Concrete) -> Callable[[Concrete, Concrete], bool]:
    def less(x: Concrete, y: Concrete) -> bool:
        compared = unify(comparer, {"x": x, "y": y})
        if not isinstance(compared, dict) or "less" not in compared:
            raise BuiltinError("the comparer has no field less; expected {x: _, y: _, less: …}")
        answer = compared["less"]
        if may_become(answer, Kind.BOOL):
            raise NotConcrete("the comparer's field less is not concrete")
        if not isinstance(answer, bool):
            raise BuiltinError(
                f"the comparer's field less is of type {kind_of(answer)}; expected bool"
            )
        return answer

    return less


def _sort(unify: Unify, values: list[Concrete], comparer: Concrete) -> list[Concrete]:
    less = _less(unify, comparer)
    if len(values) > _INSERTION_SORT:
        key: Callable[[Concrete], Any] = cmp_to_key(lambda x, y: -1 if less(x, y) else 0)
        return sorted(values, key=key)
    result: list[Concrete] = []
    for value in values:
        place = len(result)
        while place and less(value, result[place - 1]):
            place -= 1
        result.insert(place, value)
    return result


def _is_sorted(unify: Unify, values: list[Concrete], comparer: Concrete) -> bool:
    """Tell whether no element is less than the one before; as of v0.4.2, without waiting."""
    less = _less(unify, comparer)
    try:
        pairs = pairwise(values)
        return not any(less(later, earlier) for earlier, later in pairs)
    except BuiltinError:
        return False


def _sort_strings(values: list[Concrete]) -> list[str]:
    return sorted(strings_of(values))


def _is_sorted_strings(values: list[Concrete]) -> bool:
    texts = strings_of(values)
    return texts == sorted(texts)


def _package() -> Package:
    add = (signatures := Signatures("list")).add
    values, whole, number, anything = Kind.LIST, Kind.INT, Kind.NUMBER, Kind.TOP
    add("Drop", (values, whole), values, _drop, open_list=True)
    add("Take", (values, whole), values, _take, open_list=True)
    add("Slice", (values, whole, whole), values, _slice, open_list=True)
    add("Repeat", (values, whole), values, _repeat, open_list=True, bounded=True)
    add("Concat", (values,), values, _concat, open_list=True, bounded=True)
    add("FlattenN", (anything, whole), values, _flatten_n, open_list=True, bounded=True)
    add("MinItems", (values, whole), Kind.BOOL, _min_items, open_list=True)
    add("MaxItems", (values, whole), Kind.BOOL, _max_items, open_list=True)
    add("UniqueItems", (values,), Kind.BOOL, _unique_items, open_list=True)
    add("Contains", (values, anything), Kind.BOOL, _contains, open_list=True)
    add("Sum", (values,), number, _sum)
    add("Product", (values,), number, _product)
    add("Avg", (values,), number, _avg)
    add("Max", (values,), number, _max)
    add("Min", (values,), number, _min)
    add("Range", (number, number, number), values, _range, bounded=True)
    add("Sort", (values, anything), values, _sort, open_list=True, apply=True)
    add("SortStable", (values, anything), values, _sort, open_list=True, apply=True)
    add("IsSorted", (values, anything), Kind.BOOL, _is_sorted, open_list=True, apply=True)
    add("SortStrings", (values,), values, _sort_strings)
    add("IsSortedStrings", (values,), Kind.BOOL, _is_sorted_strings)
    members: dict[str, Any] = {
        **signatures.members,
        "Comparer": CueMember("{T: _, x: T, y: T, less: bool}"),
        "Ascending": CueMember("{Comparer, T: number | string, x: T, y: T, less: x < y}"),
        "Descending": CueMember("{Comparer, T: number | string, x: T, y: T, less: x > y}"),
    }
    return Package("list", MappingProxyType(members))


PACKAGE = _package()
