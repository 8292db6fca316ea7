"""Package ``math``: kinds, special functions, and what is out of range."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.jsontext import to_json
from connect.config.cue.packages import package
from connect.config.cue.values import Builtin, CueMember, Kind, kind_of
from tests.config.cue.builtins import call, refusal

PATH = "math"


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Floor", (Decimal("1e30"),), 10**30),
        ("Ceil", (Decimal("999999999999999999999999.5"),), 10**24),
        ("Logb", (Decimal("0.1"),), -4),
    ],
)
def test_exact_answers(name: str, arguments: tuple[Any, ...], expected: int) -> None:
    assert call(PATH, name, *arguments) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Tan", (1,), 1.557407724654902),
        ("Gamma", (100,), 9.332621544394423e155),
        ("Erfinv", (Decimal("0.9"),), 1.1630871536766738),
        ("Erfinv", (Decimal("-0.3"),), -0.2724627147267543),
        ("Erfcinv", (Decimal("1.5"),), -0.4769362762044699),
        ("J0", (10,), -0.24593576445134832),
        ("J0", (50,), 0.05581232766925182),
        ("J0", (1000,), 0.024786686152420176),
        ("J1", (-2,), -0.5767248077568733),
        ("Jn", (1, Decimal("1e5")), 0.0018467575628825681),
        ("Jn", (3, 20), -0.09890139456044966),
        ("Jn", (30, 2), 3.650256266474097e-33),
        ("Jn", (-3, 2), -0.12894324947440208),
        ("Jn", (3, -2), -0.12894324947440208),
        ("Jn", (5, 50), -0.08140024769656962),
        ("Jn", (60, 50), 0.0010485195995314166),
        ("Jn", (45, 50), 0.13228035222445822),
        ("Jn", (200, 150), 8.057702198394841e-14),
        ("Jn", (4000, 50), 0.0),
        ("Jn", (3300, 2000), 0.0),
        ("Y0", (Decimal("0.001"),), -4.471416611375924),
        ("Y0", (10,), 0.05567116728359939),
        ("Y1", (50,), -0.056795668562014776),
        ("Yn", (3, 20), 0.14967326271339412),
        ("Yn", (-2, 5), 0.3676628826055245),
        ("Yn", (10, 1), -121618014.27868918),
        ("Yn", (5, 50), -0.07854841391308165),
    ],
)
def test_answers_in_floating_point(name: str, arguments: tuple[Any, ...], expected: float) -> None:
    assert float(call(PATH, name, *arguments)) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Pow", (10, Decimal("1e9"))),
        ("Pow", (Decimal("0.5"), Decimal("1e9"))),
        ("Pow", (Decimal("1e-100000"), Decimal("1e100000"))),
        ("Exp", (Decimal("1e100000"),)),
        ("Exp2", (Decimal("1e99"),)),
        ("Floor", (Decimal("1e999999999"),)),
        ("Pow10", (2**40,)),
        ("Jn", (10**9, 10**9)),
        ("Yn", (100_000, 1)),
        ("Ldexp", (1, 2**40)),
        ("Ilogb", (0,)),
        ("Jacobi", (1, 2**20_000 + 1)),
        ("MultipleOf", (Decimal("1e100000"), Decimal("1e-100000"))),
        ("Sqrt", (Decimal("1e999999999"),)),
    ],
)
def test_hostile_arguments_are_refused_quickly(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("Sqrt", (-1,), "not defined for -1"),
        ("Log", (0,), "the result for 0 is infinite"),
        ("Pow", (0, 0), "not defined for 0 and 0"),
        ("MultipleOf", (5, 0), "division by zero"),
        ("Jacobi", (2, 8), "the second argument 8 is even; expected an odd integer"),
        ("Erfinv", (1,), "the result is infinite or not a number"),
        (
            "Cos",
            (0,),
            "0 is too near to 0 for a 64-bit float; CUE v0.4.2 takes none below 5e-324, and not"
            " 0 itself",
        ),
    ],
)
def test_a_refusal_says_why(name: str, arguments: tuple[Any, ...], reason: str) -> None:
    assert refusal(PATH, name, *arguments) == reason


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("Abs", (Decimal("-3.0"),), Kind.INT),
        ("Pow", (2, 10), Kind.INT),
        ("Pow", (2, Decimal("0.5")), Kind.FLOAT),
        ("Sqrt", (16,), Kind.FLOAT),
        ("Floor", (Decimal("2.5"),), Kind.INT),
    ],
)
def test_decimal_functions_answer_ints_where_they_can(
    name: str, arguments: tuple[Any, ...], kind: Kind
) -> None:
    assert kind_of(call(PATH, name, *arguments)) is kind


@given(st.integers(), st.integers(-1000, 1000).map(lambda n: 2 * n + 1))
def test_the_jacobi_symbol_is_multiplicative(x: int, y: int) -> None:
    symbol = call(PATH, "Jacobi", x, abs(y))
    assert call(PATH, "Jacobi", x * x, abs(y)) == symbol * symbol


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Pi", "3.14159265358979323846264338327950288419716939937510582097494459"),
        ("MaxExp", "2147483647"),
        ("Above", "1"),
    ],
)
def test_constants(name: str, text: str) -> None:
    found = package(PATH)
    assert found is not None
    member = found.members[name]
    assert not isinstance(member, Builtin | CueMember)
    assert to_json(member) == text
