"""Tests of `connect.runs.jsontext`."""

import pytest

from connect.runs import jsontext


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[NaN]", "NaN is not a JSON value"),
        (b"-Infinity", "-Infinity is not a JSON value"),
        (b"1e999", "the number 1e999 is too large"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b"[" * 100_000, "nested too deeply"),
        (b"", "Expecting value"),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        jsontext.load(text)


def test_any_json_text_survives_a_round_trip() -> None:
    text = b'{"a":[1,1.5,null,true,"\\ud800\\u00e9"]}'

    assert jsontext.dump(jsontext.load(text)) == text


def test_what_json_has_no_form_for_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsontext.dump(float("nan"))


def test_a_value_nested_too_deeply_is_not_written() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(ValueError, match="nested too deeply"):
        jsontext.dump(value)
