"""Variables in a document's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.expansion import expand

ENVIRONMENT = {"NAME": "value", "_X1": "one", "a b": "spaced", "1": "first", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$NAME", "value"),
        ("${NAME}", "value"),
        ("<$NAME>", "<value>"),
        ("$NAME$NAME", "valuevalue"),
        ("$_X1.y", "one.y"),
        ("$NAME_more", ""),
        ("${NAME}_more", "value_more"),
        ("$UNSET.", "."),
        ("${UNSET}.", "."),
        ("${a b}", "spaced"),
        ("${NAME:-default}", ""),
        ("$1", "first"),
        ("$12", "first2"),
        ("${1}", "first"),
        ("$$NAME", "NAME"),
        ("a$*b$#c$@d$!e$?f$-g", "abcdefg"),
        ("a${}b", "ab"),
        ("a${b", "ab"),
        ("${\nb}c", "c"),
        ("US$", "US$"),
        ("$ 5", "$ 5"),
        ('"$"', '"$"'),
        ("$é", "$é"),
        ("$NAMEé", "valueé"),
        ("{$NAME}", "{value}"),
    ],
)
def test_a_text_is_expanded(text: str, expanded: str) -> None:
    assert expand(text, ENVIRONMENT).text == expanded


def test_what_was_put_in_is_not_expanded_again() -> None:
    assert expand("$A", {"A": "$B ${B}", "B": "no"}).text == "$B ${B}"


@pytest.mark.parametrize(
    ("part", "original"),
    [("before", "before"), ("value", "${NAME}"), ("alu", "${NAME}"), ("after", "after")],
)
def test_a_stretch_stands_where_its_original_does(part: str, original: str) -> None:
    expansion = expand("before ${UNSET}${NAME} after", ENVIRONMENT)
    start = expansion.text.index(part)
    first, last = expansion.original_range(start, start + len(part))
    assert expansion.original[first:last] == original


def test_a_stretch_over_a_variable_covers_its_reference() -> None:
    expansion = expand("a $NAME b", ENVIRONMENT)
    assert expansion.original_range(0, len(expansion.text)) == (0, 9)


def test_an_empty_stretch_behind_a_variable_stands_behind_its_reference() -> None:
    expansion = expand('{"port": ${UNSET}}', ENVIRONMENT)
    place = expansion.text.index("}")
    assert expansion.original_range(place, place) == (17, 17)


def test_a_place_in_a_value_names_its_variable() -> None:
    found = expand("a $NAME b", ENVIRONMENT).substitution_at(3)
    assert found is not None
    assert found.name == "NAME"


@pytest.mark.parametrize("offset", [0, 1, 7, 8])
def test_a_place_outside_of_values_names_none(offset: int) -> None:
    assert expand("a $NAME b", ENVIRONMENT).substitution_at(offset) is None


@pytest.mark.parametrize("text", ["a: $UNSET }", "a: ${UNSET}\n }", "a: $EMPTY}"])
def test_a_variable_that_left_nothing_is_found(text: str) -> None:
    expansion = expand(text, ENVIRONMENT)
    assert expansion.nothing_before(expansion.text.index("}")) is not None


def test_a_variable_that_left_nothing_at_the_end_is_found_from_the_last_word() -> None:
    expansion = expand("a: $UNSET\n", ENVIRONMENT)
    assert expansion.nothing_before(len("a:")) is not None
    assert expand("a: $NAME\n", ENVIRONMENT).nothing_before(len("a:")) is None


@pytest.mark.parametrize("text", ["a: $NAME }", "}", "$UNSET a }"])
def test_a_variable_that_left_something_or_is_elsewhere_is_not(text: str) -> None:
    expansion = expand(text, ENVIRONMENT)
    assert expansion.nothing_before(expansion.text.index("}")) is None


@given(st.text("$ab{}N1 \n"), st.dictionaries(st.sampled_from(["a", "ab", "N"]), st.text("xy$")))
def test_places_come_back_in_order_and_within_the_original(
    text: str, environment: dict[str, str]
) -> None:
    expansion = expand(text, environment)
    last = 0
    for offset in range(len(expansion.text)):
        first, end = expansion.original_range(offset, offset + 1)
        assert last <= first <= end <= len(text)
        last = first
        if expansion.substitution_at(offset) is None:
            assert text[first] == expansion.text[offset]
