"""Arithmetic of CUE: 24 digits, and the text of floats."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, getcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.numbers import (
    PREDECLARED,
    Number,
    WrittenInt,
    as_decimal,
    binary,
    by_value,
    compare,
    int_from_digits,
    negate,
    number_text,
)
from connect.config.cue.values import BuiltinError, Kind

INTS = st.integers(-(10**40), 10**40)
NONZERO = INTS.filter(bool)
FLOATS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40)

# Left, operator, right, and the text of the result.
ARITHMETIC: list[tuple[Number, str, Number, str]] = [
    (123456789012345678901234567890, "+", 1, "1.23456789012345678901235E+29"),
    (999999999999999999999999, "+", 1, "1.00000000000000000000000E+24"),
    (999999999999999999999998, "+", 1, "999999999999999999999999"),
    (12345678901234567890123455, "+", 0, "1.23456789012345678901235E+25"),
    (-12345678901234567890123456, "-", 0, "-1.23456789012345678901235E+25"),
    (Decimal("123456789012345678901234.5"), "+", 0, "123456789012345678901235"),
    (Decimal("123456789012345678901233.5"), "+", 0, "123456789012345678901234"),
    (1, "+", Decimal("1e-30"), "1.00000000000000000000000"),
    (1, "+", Decimal("2.0"), "3.0"),
    (Decimal("0.1"), "+", Decimal("0.2"), "0.3"),
    (Decimal("1e3"), "+", 0, "1000"),
    (Decimal("1e1000"), "-", Decimal("1e1000"), "0E+1000"),
    (1, "-", Decimal("1.0"), "0.0"),
    (5, "-", Decimal("5.00"), "0.00"),
    (Decimal("-1.5"), "+", Decimal("1.5"), "0.0"),
    (3, "*", Decimal("1.5"), "4.5"),
    (2, "*", Decimal("0.5"), "1.0"),
    (Decimal("1.50"), "*", Decimal("2.0"), "3.000"),
    (Decimal("1e3"), "*", 1, "1E+3"),
    (0, "*", -1, "-0"),
    (0, "*", Decimal("-1.5"), "-0.0"),
    (0, "*", 5, "0"),
    (1000000000000000000000000, "*", 10, "1.00000000000000000000000E+25"),
    (Decimal("1e50000"), "*", Decimal("1e50000"), "1E+100000"),
    (Decimal("1e-100000"), "*", 1, "1E-100000"),
    (Decimal("1e-100000"), "-", Decimal("1e-100000"), "0E-100000"),
    (Decimal("1e100000"), "+", 1, "1.00000000000000000000000E+100000"),
    (1, "/", 3, "0.333333333333333333333333"),
    (2, "/", 3, "0.666666666666666666666667"),
    (10, "/", 2, "5"),
    (10, "/", 4, "2.5"),
    (100, "/", 10, "10"),
    (0, "/", 5, "0"),
    (0, "/", -5, "-0"),
    (0, "/", Decimal("7.00"), "0E+2"),
    (Decimal("0.00"), "/", 7, "0.00"),
    (Decimal("1e3"), "/", 10, "1E+2"),
    (2000, "/", Decimal("1e3"), "2.000"),
    (300, "/", Decimal("1e1"), "30.0"),
    (1000, "/", Decimal("100.0"), "1E+1"),
    (Decimal("1.50"), "/", Decimal("0.5"), "3.0"),
    (Decimal("1.5"), "/", Decimal("0.50"), "3"),
    (Decimal("1.20"), "/", 1, "1.20"),
    (10000000000000000000000000, "/", 1, "1.00000000000000000000000E+25"),
    (Decimal("1e24"), "/", 3, "333333333333333333333333"),
    (1, "/", Decimal("9e9"), "1.11111111111111111111111E-10"),
    (7, "div", 2, "3"),
    (-7, "div", 2, "-4"),
    (7, "div", -2, "-3"),
    (-7, "div", -2, "4"),
    (7, "mod", 2, "1"),
    (-7, "mod", 2, "1"),
    (7, "mod", -2, "1"),
    (-7, "mod", -2, "1"),
    (7, "quo", 2, "3"),
    (-7, "quo", 2, "-3"),
    (7, "quo", -2, "-3"),
    (-7, "quo", -2, "3"),
    (7, "rem", 2, "1"),
    (-7, "rem", 2, "-1"),
    (7, "rem", -2, "1"),
    (-7, "rem", -2, "-1"),
    (123456789012345678901234567890, "div", 1, "123456789012345678901234567890"),
    (123456789012345678901234567890, "mod", 7, "0"),
]

REFUSED: list[tuple[Number, str, Number, str]] = [
    (1, "/", 0, "division by zero"),
    (1, "/", Decimal("0.0"), "division by zero"),
    (0, "/", 0, "division of zero by zero"),
    (7, "div", 0, "division by zero"),
    (7, "mod", 0, "division by zero"),
    (7, "quo", 0, "division by zero"),
    (7, "rem", 0, "division by zero"),
    (Decimal("7.0"), "div", 2, "div takes ints, not the float 7.0"),
    (7, "mod", Decimal("2.0"), "mod takes ints, not the float 2.0"),
]

OUT_OF_RANGE: list[tuple[Number, str, Number]] = [
    (Decimal("1e100000"), "*", Decimal("1e100000")),
    (Decimal("1e50000"), "*", Decimal("1e50001")),
    (Decimal("1e-100000"), "*", Decimal("1e-10")),
    (Decimal("1e-100000"), "/", 10),
    (Decimal("1e100000"), "/", Decimal("1e-100000")),
    (Decimal("1e-99990"), "*", Decimal("1.23456789e-10")),
    (Decimal("0e100000"), "*", Decimal("1e100000")),
    (Decimal("0e-100000"), "*", Decimal("0.1")),
    (Decimal("9.99999999999999999999999999e100000"), "+", 0),
    (Decimal("1e999999999"), "+", 1),
    (Decimal("1e999999999999"), "*", 2),
]


@pytest.mark.parametrize(("left", "operator", "right", "text"), ARITHMETIC)
def test_arithmetic(left: Number, operator: str, right: Number, text: str) -> None:
    assert number_text(binary(operator, left, right)) == text


@pytest.mark.parametrize(("left", "operator", "right", "reason"), REFUSED)
def test_arithmetic_that_is_refused(
    left: Number, operator: str, right: Number, reason: str
) -> None:
    with pytest.raises(BuiltinError) as caught:
        binary(operator, left, right)
    assert str(caught.value) == reason


@pytest.mark.parametrize(("left", "operator", "right"), OUT_OF_RANGE)
def test_an_exponent_out_of_range_is_refused_at_once(
    left: Number, operator: str, right: Number
) -> None:
    with pytest.raises(BuiltinError, match="from -100000 to 100000"):
        binary(operator, left, right)


@pytest.mark.parametrize("operator", ["+", "-", "*"])
@given(INTS, INTS)
def test_ints_give_an_int(operator: str, left: int, right: int) -> None:
    assert isinstance(binary(operator, left, right), int)


@given(INTS, NONZERO)
def test_division_gives_a_float(left: int, right: int) -> None:
    assert isinstance(binary("/", left, right), Decimal)


@given(INTS, INTS)
def test_small_sums_are_exact(left: int, right: int) -> None:
    left, right = left % 10**23, right % 10**23
    assert binary("+", left, right) == left + right


@given(INTS, NONZERO)
def test_div_and_mod_are_euclidean(left: int, right: int) -> None:
    quotient, modulus = int(binary("div", left, right)), int(binary("mod", left, right))
    assert left == right * quotient + modulus
    assert 0 <= modulus < abs(right)


@given(INTS, NONZERO)
def test_quo_and_rem_truncate(left: int, right: int) -> None:
    quotient, remainder = int(binary("quo", left, right)), int(binary("rem", left, right))
    assert left == right * quotient + remainder
    assert abs(remainder) < abs(right)
    assert not remainder or (remainder < 0) == (left < 0)


@given(FLOATS, FLOATS)
def test_sums_of_floats_commute(left: Decimal, right: Decimal) -> None:
    assert number_text(binary("+", left, right)) == number_text(binary("+", right, left))


def test_a_rounded_int_is_an_int_with_the_text_of_a_float() -> None:
    total = binary("+", 123456789012345678901234567890, 1)
    assert isinstance(total, WrittenInt)
    assert total == 123456789012345678901235000000
    assert number_text(negate(total)) == "-1.23456789012345678901235E+29"


def test_an_int_of_a_hundred_thousand_digits_is_not_divided() -> None:
    huge = by_value(Decimal("1e100000"))
    assert huge == 10**100_000
    with pytest.raises(BuiltinError, match="an operand of quo is too large"):
        binary("quo", huge, 3)


def test_a_rounded_int_is_reckoned_with_by_its_value() -> None:
    total = binary("+", 123456789012345678901234567890, 1)
    assert binary("div", total, 10) == 12345678901234567890123500000
    assert number_text(binary("-", total, total)) == "0E+6"


@pytest.mark.parametrize(
    ("text", "kind", "written"),
    [
        ("3.0", int, "3.0"),
        ("3", int, "3"),
        ("-0", int, "-0"),
        ("1E+3", int, "1E+3"),
        ("-123456789012345678901234567890E+5", int, "-1.23456789012345678901234567890E+34"),
        ("3.5", Decimal, "3.5"),
        ("1E-100000", Decimal, "1E-100000"),
    ],
)
def test_a_number_by_value_keeps_its_text(text: str, kind: type, written: str) -> None:
    number = by_value(Decimal(text))
    assert isinstance(number, kind)
    assert number_text(number) == written


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.5"), "-1.5"),
        (Decimal("-1234567890123456789012345678.5"), "1234567890123456789012345678.5"),
        (Decimal("0.0"), "0.0"),
        (Decimal("-0.0"), "0.0"),
        (0, "0"),
        (7, "-7"),
    ],
)
def test_negation_keeps_digits_and_has_no_negative_zero(value: Number, text: str) -> None:
    assert number_text(negate(value)) == text


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, Decimal("1.0"), 0),
        (Decimal("1.50"), Decimal("1.5"), 0),
        (0, Decimal("-0.0"), 0),
        (1234567890123456789012345, 1234567890123456789012346, -1),
        (Decimal("1e400"), 1, 1),
        (Decimal("1e999999999"), Decimal("1e999999998"), 1),
    ],
)
def test_comparison_is_exact(left: Number, right: Number, expected: int) -> None:
    assert compare(left, right) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1e3"), "1E+3"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1e-7"), "1E-7"),
        (Decimal("0.000001"), "0.000001"),
        (Decimal("12.3e5"), "1.23E+6"),
        (Decimal("0e5"), "0E+5"),
        (Decimal("0e-5"), "0.00000"),
        (Decimal("12345e-11"), "1.2345E-7"),
    ],
)
def test_floats_are_written_as_they_are(value: Decimal, text: str) -> None:
    assert number_text(value) == text


def test_an_int_of_any_size_is_written_and_read() -> None:
    assert int_from_digits(number_text(7**20_000)) == 7**20_000


@given(INTS)
def test_reading_inverts_writing(number: int) -> None:
    assert as_decimal(int_from_digits(number_text(number))) == number


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("uint", 0, None),
        ("int8", -128, 127),
        ("uint8", 0, 255),
        ("int128", -(2**127), 2**127 - 1),
        ("rune", 0, 0x10FFFF),
    ],
)
def test_predeclared_ranges_of_ints(name: str, low: int, high: int | None) -> None:
    bounds = PREDECLARED[name]
    assert (bounds.kind, bounds.low, bounds.high) == (Kind.INT, low, high)


def test_predeclared_floats_are_ranges_of_numbers() -> None:
    bounds = PREDECLARED["float32"]
    assert bounds.kind is Kind.NUMBER
    assert bounds.high == 340282346638528859811704183484516925440


def test_the_context_of_the_thread_is_neither_used_nor_changed() -> None:
    context = getcontext()
    before = context.copy()
    context.prec = 3
    context.capitals = 0
    try:
        assert number_text(binary("/", 1, 3)) == "0.333333333333333333333333"
        assert number_text(Decimal("1e9")) == "1E+9"
        assert (context.prec, context.capitals) == (3, 0)
    finally:
        context.prec, context.capitals = before.prec, before.capitals


def test_threads_reckon_side_by_side() -> None:
    def total(start: int) -> str:
        result: Number = start
        for _ in range(500):
            result = binary("/", binary("+", result, 1), Decimal("1.0000001"))
        return number_text(result)

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(total, [1, 2, 3, 4] * 2))
    assert results == [total(start) for start in [1, 2, 3, 4] * 2]
