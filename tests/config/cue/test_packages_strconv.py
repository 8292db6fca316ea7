"""Package ``strconv``."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.packages.floats import narrowed
from tests.config.cue.builtins import answer, call, refusal

PATH = "strconv"

# The function, its arguments, and its answer as JSON.
ANSWERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("Atoi", ("42",), "42"),
    ("Atoi", ("-42",), "-42"),
    ("Atoi", ("+42",), "42"),
    ("Atoi", ("010",), "10"),
    ("Atoi", ("9223372036854775807",), "9223372036854775807"),
    ("Atoi", ("-9223372036854775808",), "-9223372036854775808"),
    ("ParseInt", ("ff", 16, 64), "255"),
    ("ParseInt", ("FF", 16, 64), "255"),
    ("ParseInt", ("0xff", 0, 64), "255"),
    ("ParseInt", ("0b11", 0, 64), "3"),
    ("ParseInt", ("0o17", 0, 64), "15"),
    ("ParseInt", ("017", 0, 64), "15"),
    ("ParseInt", ("1_000", 0, 64), "1000"),
    ("ParseInt", ("0x_1", 0, 64), "1"),
    ("ParseInt", ("0_7", 0, 64), "7"),
    ("ParseInt", ("-128", 10, 8), "-128"),
    ("ParseInt", ("127", 10, 8), "127"),
    ("ParseInt", ("z", 36, 64), "35"),
    ("ParseInt", ("9223372036854775807", 10, 0), "9223372036854775807"),
    ("ParseInt", ("0", 0, 64), "0"),
    ("ParseInt", ("-0x1f", 0, 64), "-31"),
    ("ParseUint", ("42", 10, 64), "42"),
    ("ParseUint", ("255", 10, 8), "255"),
    ("ParseUint", ("18446744073709551615", 10, 64), "18446744073709551615"),
    ("ParseFloat", ("2.5", 64), "2.5"),
    ("ParseFloat", ("2", 64), "2"),
    ("ParseFloat", ("1e3", 64), "1000"),
    ("ParseFloat", ("1e-400", 64), "0"),
    ("ParseFloat", ("0x1p-2", 64), "0.25"),
    ("ParseFloat", ("0x1.8p1", 64), "3"),
    ("ParseFloat", ("1_000.5", 64), "1000.5"),
    ("ParseFloat", ("0x_1p4", 64), "16"),
    ("ParseFloat", ("1.", 64), "1"),
    ("ParseFloat", (".5", 64), "0.5"),
    ("ParseFloat", ("+1.5", 64), "1.5"),
    ("ParseFloat", ("0.1", 32), "0.10000000149011612"),
    ("ParseFloat", ("0.1", 10), "0.1"),
    ("ParseFloat", ("3.4e38", 32), "3.3999999521443642E+38"),
    ("ParseFloat", ("0", 64), "0"),
    ("ParseFloat", ("-0", 64), "-0"),
    ("ParseFloat", ("123456789.123456789123", 64), "123456789.12345679"),
    ("ParseFloat", ("1e23", 64), "1E+23"),
    ("ParseFloat", ("1e21", 64), "1E+21"),
    ("ParseFloat", ("100000", 64), "100000"),
    ("ParseBool", ("true",), "true"),
    ("ParseBool", ("1",), "true"),
    ("ParseBool", ("t",), "true"),
    ("ParseBool", ("T",), "true"),
    ("ParseBool", ("TRUE",), "true"),
    ("ParseBool", ("True",), "true"),
    ("ParseBool", ("0",), "false"),
    ("ParseBool", ("f",), "false"),
    ("ParseBool", ("False",), "false"),
    ("FormatBool", (True,), '"true"'),
    ("FormatFloat", (Decimal("3.14159"), 102, 2, 64), '"3.14"'),
    ("FormatFloat", (Decimal("3.14159"), 101, 2, 64), '"3.14e+00"'),
    ("FormatFloat", (Decimal("3.14159"), 69, 3, 64), '"3.142E+00"'),
    ("FormatFloat", (Decimal("3.14159"), 103, 3, 64), '"3.14"'),
    ("FormatFloat", (Decimal("3.14159"), 71, -1, 64), '"3.14159"'),
    ("FormatFloat", (Decimal("1E+21"), 103, -1, 64), '"1e+21"'),
    ("FormatFloat", (Decimal("1E+20"), 103, -1, 64), '"1e+20"'),
    ("FormatFloat", (100000, 103, -1, 64), '"100000"'),
    ("FormatFloat", (Decimal("0.00001"), 103, -1, 64), '"1e-05"'),
    ("FormatFloat", (Decimal("0.0001"), 103, -1, 64), '"0.0001"'),
    ("FormatFloat", (123456789, 103, 4, 64), '"1.235e+08"'),
    ("FormatFloat", (1234567, 103, 7, 64), '"1234567"'),
    ("FormatFloat", (100, 103, 3, 64), '"100"'),
    ("FormatFloat", (100, 103, 2, 64), '"1e+02"'),
    ("FormatFloat", (Decimal("1.5"), 103, 0, 64), '"2"'),
    ("FormatFloat", (Decimal("0.1"), 102, -1, 64), '"0.1"'),
    ("FormatFloat", (Decimal("0.1"), 102, -1, 32), '"0.1"'),
    ("FormatFloat", (Decimal("0.1"), 101, -1, 32), '"1e-01"'),
    ("FormatFloat", (1, 98, -1, 64), '"4503599627370496p-52"'),
    ("FormatFloat", (Decimal("1.5"), 98, -1, 64), '"6755399441055744p-52"'),
    ("FormatFloat", (Decimal("1.5"), 120, -1, 64), '"0x1.8p+00"'),
    ("FormatFloat", (Decimal("1.5"), 88, 3, 64), '"0X1.800P+00"'),
    ("FormatFloat", (1, 120, -1, 64), '"0x1p+00"'),
    ("FormatFloat", (Decimal("0.1"), 120, -1, 64), '"0x1.999999999999ap-04"'),
    ("FormatFloat", (Decimal("0.1"), 120, 3, 64), '"0x1.99ap-04"'),
    ("FormatFloat", (Decimal("1.5"), 102, 0, 64), '"2"'),
    ("FormatFloat", (Decimal("2.5"), 102, 0, 64), '"2"'),
    ("FormatFloat", (Decimal("1.005"), 102, 2, 64), '"1.00"'),
    (
        "FormatFloat",
        (Decimal("1E+100"), 102, 2, 64),
        '"10000000000000000159028911097599180468360808563945281389781327557747838772170381060813469985856815104.00"',
    ),
    ("FormatFloat", (Decimal("1.5"), 102, 30, 64), '"1.500000000000000000000000000000"'),
    ("FormatFloat", (Decimal("-1.5"), 101, -1, 64), '"-1.5e+00"'),
    ("FormatFloat", (12345678, 101, -1, 64), '"1.2345678e+07"'),
    ("FormatFloat", (Decimal("5E-324"), 101, -1, 64), '"5e-324"'),
    ("FormatFloat", (Decimal("16777217.0"), 102, -1, 32), '"16777216"'),
    ("FormatInt", (255, 2), '"11111111"'),
    ("FormatInt", (-255, 16), '"-ff"'),
    ("FormatInt", (35, 36), '"z"'),
    ("FormatUint", (255, 16), '"ff"'),
    ("FormatUint", (18446744073709551615, 10), '"18446744073709551615"'),
    (
        "Quote",
        ("a\"b\n\t\\\x00\x07\x1bé☺\u2028\ufeff😀\xa0\xad'",),
        '"\\"a\\\\\\"b\\\\n\\\\t\\\\\\\\\\\\x00\\\\a\\\\x1bé☺\\\\u2028\\\\ufeff😀\\\\u00a0\\\\u00ad\'\\""',
    ),
    ("Quote", ("",), '"\\"\\""'),
    (
        "Quote",
        ("\x7f\x80\x9f\ue000\U0010ffff\u0378",),
        '"\\"\\\\u007f\\\\u0080\\\\u009f\\\\ue000\\\\U0010ffff\\\\u0378\\""',
    ),
    ("QuoteToASCII", ('é☺😀\n"',), '"\\"\\\\u00e9\\\\u263a\\\\U0001f600\\\\n\\\\\\"\\""'),
    (
        "QuoteToGraphic",
        ("é☺\xa0\u3000\t\xad\u2028",),
        '"\\"é☺\xa0\u3000\\\\t\\\\u00ad\\\\u2028\\""',
    ),
    ("QuoteRune", (97,), "\"'a'\""),
    ("QuoteRune", (39,), "\"'\\\\''\""),
    ("QuoteRune", (34,), '"\'\\"\'"'),
    ("QuoteRune", (9786,), "\"'☺'\""),
    ("QuoteRune", (10,), "\"'\\\\n'\""),
    ("QuoteRune", (1114112,), "\"'�'\""),
    ("QuoteRune", (-1,), "\"'�'\""),
    ("QuoteRune", (55296,), "\"'�'\""),
    ("QuoteRuneToASCII", (9786,), "\"'\\\\u263a'\""),
    ("QuoteRuneToASCII", (128512,), "\"'\\\\U0001f600'\""),
    ("QuoteRuneToGraphic", (160,), "\"'\xa0'\""),
    ("QuoteRuneToGraphic", (9,), "\"'\\\\t'\""),
    ("Unquote", ('"a\\nb"',), '"a\\nb"'),
    ("Unquote", ("'a'",), '"a"'),
    ("Unquote", ("'ab'",), '"ab"'),
    ("Unquote", ('"\\""',), '"\\""'),
    ("Unquote", ("'\\''",), '"\'"'),
    ("Unquote", ("''",), '""'),
    ("Unquote", ('""',), '""'),
    ("IsPrint", (97,), "true"),
    ("IsPrint", (32,), "true"),
    ("IsPrint", (160,), "false"),
    ("IsPrint", (10,), "false"),
    ("IsPrint", (173,), "false"),
    ("IsGraphic", (160,), "true"),
    ("IsGraphic", (12288,), "true"),
    ("IsGraphic", (10,), "false"),
    ("IsPrint", (1114112,), "false"),
    ("IsPrint", (-1,), "false"),
    ("FormatFloat", (1000000, 103, -1, 64), '"1e+06"'),
    ("FormatFloat", (1234567, 103, -1, 64), '"1.234567e+06"'),
    ("FormatFloat", (12345678901, 103, -1, 64), '"1.2345678901e+10"'),
    ("FormatFloat", (Decimal("0.00001234"), 103, -1, 64), '"1.234e-05"'),
    ("FormatFloat", (123456, 103, 3, 64), '"1.23e+05"'),
    ("FormatFloat", (123456, 103, 8, 64), '"123456"'),
    ("FormatFloat", (120000, 103, 8, 64), '"120000"'),
    ("FormatFloat", (120, 103, 2, 64), '"1.2e+02"'),
    ("FormatFloat", (1200, 103, 3, 64), '"1.2e+03"'),
    ("FormatFloat", (1500000, 103, 10, 64), '"1500000"'),
    ("FormatFloat", (Decimal("0.5"), 103, 10, 64), '"0.5"'),
    ("FormatFloat", (100000000, 103, 9, 64), '"100000000"'),
    ("FormatFloat", (100000000, 103, 8, 64), '"1e+08"'),
    ("FormatFloat", (999999, 103, 3, 64), '"1e+06"'),
    ("FormatFloat", (Decimal("9.99"), 101, 1, 64), '"1.0e+01"'),
    ("FormatFloat", (Decimal("9.96"), 101, 1, 64), '"1.0e+01"'),
    ("FormatFloat", (Decimal("1.5"), 101, 0, 64), '"2e+00"'),
    ("FormatFloat", (Decimal("2.5"), 101, 0, 64), '"2e+00"'),
    ("FormatFloat", (Decimal("123.456"), 101, 10, 64), '"1.2345600000e+02"'),
    ("FormatFloat", (Decimal("123.456"), 120, 0, 64), '"0x1p+07"'),
    ("FormatFloat", (Decimal("123.456"), 120, 20, 64), '"0x1.edd2f1a9fbe770000000p+06"'),
    ("FormatFloat", (Decimal("255.9999"), 120, 1, 64), '"0x1.0p+08"'),
    ("FormatFloat", (Decimal("0.1"), 98, -1, 32), '"13421773p-27"'),
    ("FormatFloat", (Decimal("5E-324"), 98, -1, 64), '"1p-1074"'),
    ("FormatFloat", (Decimal("5E-324"), 120, -1, 64), '"0x1p-1074"'),
    ("FormatFloat", (Decimal("0.1"), 103, -1, 32), '"0.1"'),
    ("FormatFloat", (Decimal("3.3"), 103, -1, 32), '"3.3"'),
    ("FormatFloat", (16777216, 103, -1, 32), '"1.6777216e+07"'),
    ("FormatFloat", (Decimal("1.5"), 102, 3, 32), '"1.500"'),
    ("FormatFloat", (Decimal("0.3"), 101, 20, 32), '"3.00000011920928955078e-01"'),
    ("FormatFloat", (Decimal("1.5"), 102, -5, 64), '"1.5"'),
    ("ParseFloat", ("1_0.5_0", 64), "10.5"),
    ("ParseFloat", ("1e1_0", 64), "1E+10"),
    ("ParseFloat", ("0x1p1_0", 64), "1024"),
    ("ParseFloat", ("1E5", 64), "100000"),
    ("ParseFloat", ("0X1P5", 64), "32"),
    ("ParseFloat", ("0x.8p1", 64), "1"),
    ("ParseFloat", ("1e-320", 64), "1E-320"),
    ("ParseFloat", ("123456", 64), "123456"),
    ("ParseFloat", ("1234567", 64), "1234567"),
    ("ParseFloat", ("1200000", 64), "1.2E+6"),
    ("ParseFloat", ("120000", 64), "120000"),
    ("ParseInt", ("0O17", 0, 64), "15"),
    ("ParseInt", ("0B11", 0, 64), "3"),
    ("ParseInt", ("00", 0, 64), "0"),
    ("ParseInt", ("+5", 10, 64), "5"),
    ("ParseUint", ("0xff", 0, 64), "255"),
    ("FormatInt", (0, 10), '"0"'),
    ("FormatInt", (-9223372036854775808, 10), '"-9223372036854775808"'),
    ("FormatUint", (0, 2), '"0"'),
    ("Unquote", ('"\\/"',), '"/"'),
    ("Unquote", ('"\\a\\v\\f"',), '"\\u0007\\u000b\\u000c"'),
    ("Unquote", ('"\'"',), '"\'"'),
    ("Unquote", ('"\\ud83d\\ude00"',), '"😀"'),
    ("Unquote", ("'\\x41'",), '"A"'),
    ("Unquote", ("'\\101'",), '"A"'),
    ("Unquote", ("'\"'",), '"\\""'),
    ("Unquote", ('"""\na\n"""',), '"a"'),
    ("Unquote", ('#"a\\nb"#',), '"a\\\\nb"'),
    ("Quote", ("\r\x08\x0c\x0b\x1f̀",), '"\\"\\\\r\\\\b\\\\f\\\\v\\\\x1f̀\\""'),
    ("IsPrint", (768,), "true"),
    ("IsPrint", (888,), "false"),
    ("IsGraphic", (8232,), "false"),
    ("IsGraphic", (888,), "false"),
]

# The function, and arguments that it refuses.
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("Atoi", ("",)),
    ("Atoi", (" 1",)),
    ("Atoi", ("1_000",)),
    ("Atoi", ("0x10",)),
    ("Atoi", ("9223372036854775808",)),
    ("Atoi", ("1.0",)),
    ("Atoi", ("٣",)),
    ("ParseInt", ("1_000", 10, 64)),
    ("ParseInt", ("1__0", 0, 64)),
    ("ParseInt", ("_1", 0, 64)),
    ("ParseInt", ("1_", 0, 64)),
    ("ParseInt", ("0xff", 16, 64)),
    ("ParseInt", ("128", 10, 8)),
    ("ParseInt", ("-129", 10, 8)),
    ("ParseInt", ("1", 1, 64)),
    ("ParseInt", ("1", 37, 64)),
    ("ParseInt", ("2", 2, 64)),
    ("ParseInt", ("1", 10, 65)),
    ("ParseInt", ("1", 10, -1)),
    ("ParseInt", ("9223372036854775808", 10, 0)),
    ("ParseInt", ("", 10, 0)),
    ("ParseInt", ("-", 10, 0)),
    ("ParseInt", ("08", 0, 64)),
    ("ParseInt", ("0x", 0, 64)),
    ("ParseInt", ("99999999999999999999999", 10, 200)),
    ("ParseUint", ("-1", 10, 64)),
    ("ParseUint", ("+1", 10, 64)),
    ("ParseUint", ("256", 10, 8)),
    ("ParseUint", ("18446744073709551616", 10, 64)),
    ("ParseFloat", ("1e400", 64)),
    ("ParseFloat", ("-1e400", 64)),
    ("ParseFloat", ("inf", 64)),
    ("ParseFloat", ("NaN", 64)),
    ("ParseFloat", ("0x1", 64)),
    ("ParseFloat", ("", 64)),
    ("ParseFloat", (" 1", 64)),
    ("ParseFloat", (".", 64)),
    ("ParseFloat", ("3.5e38", 32)),
    ("ParseBool", ("tRUE",)),
    ("ParseBool", ("yes",)),
    ("ParseBool", ("",)),
    ("FormatFloat", (Decimal("1.5"), 102, -1, 10)),
    ("FormatFloat", (Decimal("1.5"), 300, -1, 64)),
    ("FormatInt", (35, 37)),
    ("FormatInt", (35, 1)),
    ("FormatUint", (-1, 10)),
    ("FormatUint", (18446744073709551616, 10)),
    ("Unquote", ("`a\\nb`",)),
    ("Unquote", ("a",)),
    ("Unquote", ('"a',)),
    ("Unquote", ("\"a'\\x41\\101\\u00e9\\U0001F600\\'\"",)),
    ("Unquote", ('"a\nb"',)),
    ("Unquote", ('"\\q"',)),
    ("Unquote", ("",)),
    ("Unquote", ("`a\rb`",)),
    ("Unquote", ('"\\xff"',)),
    ("Unquote", ('"\\ud800"',)),
    ("ParseFloat", ("1__0", 64)),
    ("ParseFloat", ("1_.5", 64)),
    ("ParseFloat", ("_1", 64)),
    ("ParseFloat", ("0x1p99999", 64)),
    ("ParseFloat", ("infinity", 64)),
    ("ParseInt", ("0_", 0, 64)),
    ("ParseInt", ("0_8", 0, 64)),
    ("ParseInt", ("é", 10, 64)),
    ("ParseInt", ("--5", 10, 64)),
    ("ParseUint", ("", 0, 64)),
    ("ParseUint", ("1", 10, 65)),
    ("Unquote", ('"\\\'"',)),
    ("Unquote", ('"\\x41"',)),
    ("Unquote", ('"a\\"',)),
    ("Unquote", ('"a"b"',)),
    ("Unquote", ('"\\U00110000"',)),
    ("Unquote", ('"',)),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ANSWERS)
def test_answers(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert answer(PATH, name, *arguments) == expected


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(2, 36))
def test_parse_int_inverts_format_int(number: int, base: int) -> None:
    assert call(PATH, "ParseInt", call(PATH, "FormatInt", number, base), base, 64) == number


@given(
    st.floats(allow_nan=False, allow_infinity=False).filter(bool),
    st.sampled_from("eEfgGxX"),
)
def test_parse_float_inverts_format_float(number: float, layout: str) -> None:
    text = call(PATH, "FormatFloat", Decimal(number), ord(layout), -1, 64)
    assert float(call(PATH, "ParseFloat", text, 64)) == number


@given(st.floats(width=32, allow_nan=False, allow_infinity=False).filter(bool))
def test_the_shortest_text_of_a_32_bit_float_is_read_as_it(number: float) -> None:
    text = call(PATH, "FormatFloat", Decimal(number), ord("e"), -1, 32)
    assert narrowed(float(text)) == number


@given(st.text())
def test_unquote_inverts_quote_of_printable_text(text: str) -> None:
    printable = "".join(filter(str.isprintable, text))
    assert call(PATH, "Unquote", call(PATH, "Quote", printable)) == printable


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("Atoi", ("4x",), "invalid syntax: '4x'; expected an integer"),
        ("ParseUint", ("-1", 10, 64), "invalid syntax: '-1'; expected an integer without sign"),
        ("ParseInt", ("128", 10, 8), "'128' is out of range; it must fit into 8 bits"),
        ("ParseBool", ("yes",), "invalid syntax: 'yes'; expected true or false"),
        ("ParseFloat", ("1e400", 64), "'1e400' is out of range; it must fit into a 64-bit float"),
        ("FormatInt", (1, 99), "invalid base 99; expected 2 to 36"),
    ],
)
def test_a_refusal_says_what_would_be_right(
    name: str, arguments: tuple[Any, ...], reason: str
) -> None:
    assert refusal(PATH, name, *arguments) == reason


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Atoi", ("9" * 1_000_000,)),
        ("ParseFloat", ("9" * 1_000_000, 64)),
        ("FormatFloat", (1, ord("f"), 10**9, 64)),
        ("FormatFloat", (Decimal("1e1000"), ord("f"), 2, 64)),
        ("FormatFloat", (1, 0x1F600, -1, 64)),
        ("FormatFloat", (Decimal("1e39"), ord("f"), -1, 32)),
        ("FormatFloat", (1, ord("f"), -1, 16)),
        ("Unquote", ("1",)),
        ("Unquote", ('"a" // c',)),
        ("Unquote", (r'"\(1)"',)),
    ],
)
def test_hostile_arguments_are_refused(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


def test_what_is_zero_as_a_32_bit_float_has_a_text() -> None:
    assert call(PATH, "FormatFloat", Decimal("1e-50"), ord("g"), 3, 32) == "0"
    assert call(PATH, "FormatFloat", Decimal("1e-50"), ord("x"), -1, 32) == "0x0p+00"


@pytest.mark.parametrize("number", [0, Decimal("0.0"), Decimal("-0.0"), Decimal("1e-400")])
def test_what_is_nearer_to_zero_than_any_float_is_refused(number: int | Decimal) -> None:
    reason = refusal(PATH, "FormatFloat", number, ord("g"), 3, 64)
    assert "is too near to 0 for a 64-bit float" in reason


def test_a_float_stays_a_float_without_fraction() -> None:
    assert isinstance(call(PATH, "ParseFloat", "2", 64), Decimal)
