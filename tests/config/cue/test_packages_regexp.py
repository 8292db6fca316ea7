"""Package ``regexp``, and regular expressions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.regular_expressions import compile_pattern
from tests.config.cue.builtins import answer, call, refusal

PATH = "regexp"

# The function, its arguments, and its answer as JSON.
ANSWERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("Match", ("^a+$", "aaa"), "true"),
    ("Match", ("a", "b"), "false"),
    ("Match", ("(?i)ABC", "xabcx"), "true"),
    ("Match", ("\\d", "\u0661"), "false"),
    ("Match", ("^.$", "é"), "true"),
    ("Match", (".", "\n"), "false"),
    ("Match", ("(?s).", "\n"), "true"),
    ("Match", ("a{1000}", "a"), "false"),
    ("Match", ("\\pL", "é"), "true"),
    ("Match", ("\\p{Greek}", "\u03b1"), "true"),
    ("Match", ("[[:alpha:]]", "a"), "true"),
    ("Match", ("\\Qa.b\\E", "a.b"), "true"),
    ("Match", ("\\z", "a"), "true"),
    ("Match", ("", ""), "true"),
    ("Match", ("\\_", "_"), "true"),
    ("Match", ("(?P<n>a)(?P<n>b)", "ab"), "true"),
    ("Match", ("(?U)a+", "ab"), "true"),
    ("Match", ("\\x{10FFFF}", "ab"), "false"),
    ("Match", ("\\bfoo\\b", "a foo b"), "true"),
    ("Match", ("(?m)^b$", "a\nb"), "true"),
    ("Match", ("^b$", "a\nb"), "false"),
    ("Match", ("a$", "a\n"), "false"),
    ("Match", ("\\a\\f\\t\\n\\r\\v\\101\\x41", "a"), "false"),
    ("Match", ("\\0", "a"), "false"),
    ("Match", ("\\pN", "5"), "true"),
    ("Match", ("\\PN", "5"), "false"),
    ("Match", ("[^\\pN]", "5"), "false"),
    ("Match", ("(?i)k", "\u212a"), "true"),
    ("Valid", ("a",), "true"),
    ("Find", ("[0-9]+", "ab12cd345"), '"12"'),
    ("Find", ("z*", "abc"), '""'),
    ("FindAll", ("[0-9]+", "ab12cd345", -1), '["12","345"]'),
    ("FindAll", ("[0-9]+", "ab12cd345", 1), '["12"]'),
    ("FindAll", ("", "ab", -1), '["","",""]'),
    ("FindAll", ("a*", "baaab", -1), '["","aaa",""]'),
    ("FindAll", ("a*", "baaab", 2), '["","aaa"]'),
    ("FindAll", ("é*", "xéé", -1), '["","éé"]'),
    ("FindAll", ("^", "ab\ncd", -1), '[""]'),
    ("FindAll", ("\\b", "ab cd", -1), '["","","",""]'),
    ("FindAll", ("a|ab", "abab", -1), '["a","a"]'),
    ("FindAll", ("$", "ab", -1), '[""]'),
    ("FindAll", ("b*", "abb", -1), '["","bb"]'),
    ("FindSubmatch", ("(\\w)(\\d)", "x9 y8"), '["x9","x","9"]'),
    ("FindSubmatch", ("(a)|(b)", "b"), '["b","","b"]'),
    ("FindSubmatch", ("a", "ba"), '["a"]'),
    ("FindAllSubmatch", ("(\\w)(\\d)", "x9 y8", -1), '[["x9","x","9"],["y8","y","8"]]'),
    ("FindAllSubmatch", ("(\\w)(\\d)", "x9 y8", 1), '[["x9","x","9"]]'),
    ("FindNamedSubmatch", ("(?P<k>\\w+)=(?P<v>\\w+)", "color=red"), '{"k":"color","v":"red"}'),
    ("FindNamedSubmatch", ("(\\w+)=(?P<v>\\w+)", "color=red"), '{"v":"red"}'),
    ("FindNamedSubmatch", ("(\\w+)=(\\w+)", "color=red"), "{}"),
    ("FindNamedSubmatch", ("(?P<k>a)|(?P<v>b)", "b"), '{"k":"","v":"b"}'),
    (
        "FindAllNamedSubmatch",
        ("(?P<k>\\w+)=(?P<v>\\w+)", "a=b c=d", -1),
        '[{"k":"a","v":"b"},{"k":"c","v":"d"}]',
    ),
    ("FindAllNamedSubmatch", ("(?P<k>\\w+)=(?P<v>\\w+)", "a=b c=d", 1), '[{"k":"a","v":"b"}]'),
    ("FindAllNamedSubmatch", ("(\\w+)=(\\w+)", "a=b", -1), "[{}]"),
    (
        "QuoteMeta",
        ("a.b*c+d?e(f)[g]é \n/",),
        '"a\\\\.b\\\\*c\\\\+d\\\\?e\\\\(f\\\\)\\\\[g\\\\]é \\n/"',
    ),
]

# The function, and arguments that it refuses.
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("Match", ("(", "b")),
    ("Match", ("a{1001}", "a")),
    ("Match", ("\\C", "a")),
    ("Match", ("(?<n>a)", "a")),
    ("Match", ("a(?=b)", "ab")),
    ("Match", ("(a)\\1", "aa")),
    ("Match", ("a**", "a")),
    ("Match", ("\\Z", "a")),
    ("Match", ("x*+", "a")),
    ("Match", ("\\", "")),
    ("Match", ("\\é", "é")),
    ("Match", ("[a-\\d]", "a")),
    ("Match", ("[z-a]", "a")),
    ("Match", ("(?P<>a)", "ab")),
    ("Match", ("(?z)a", "ab")),
    ("Match", ("\\p{Foo}", "ab")),
    ("Match", ("[[:foo:]]", "ab")),
    ("Match", ("[", "ab")),
    ("Match", ("a)", "ab")),
    ("Match", ("*", "ab")),
    ("Match", ("\\8", "ab")),
    ("Match", ("\\x{110000}", "ab")),
    ("Match", ("((((((((((a{100}){100}){100}){100}))))))", "a")),
    ("Valid", ("(",)),
    ("Find", ("z", "abc")),
    ("Find", ("(", "abc")),
    ("FindAll", ("[0-9]+", "ab12cd345", 0)),
    ("FindAll", ("z", "ab", -1)),
    ("FindSubmatch", ("z", "b")),
    ("FindAllSubmatch", ("(\\w)(\\d)", "x9 y8", 0)),
    ("FindAllSubmatch", ("z", "x9 y8", -1)),
    ("FindNamedSubmatch", ("(?P<k>a)", "b")),
    ("FindAllNamedSubmatch", ("(?P<k>\\w+)=(?P<v>\\w+)", "x", -1)),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ANSWERS)
def test_answers(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert answer(PATH, name, *arguments) == expected


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${1}W", "-W-xxW-"),
        ("$1W", "---"),
        ("$1-", "---xx--"),
        ("$$1", "-$1-$1-"),
        ("${1", "-${1-${1-"),
        ("$9", "---"),
        ("$99999999999", "---"),
        ("$0", "-ab-axxb-"),
        ("é", "-é-é-"),
    ],
)
def test_replace_all_expands_groups(template: str, expected: str) -> None:
    assert call(PATH, "ReplaceAll", "a(x*)b", "-ab-axxb-", template) == expected


def test_replace_all_expands_named_groups() -> None:
    assert call(PATH, "ReplaceAll", "(?P<first>é)(?P<rest>.*)", "aéb", "$rest<$first>") == "ab<é>"


def test_replace_all_literal_takes_the_replacement_as_it_is() -> None:
    assert call(PATH, "ReplaceAllLiteral", "a(x*)b", "-ab-axxb-", "${1}") == "-${1}-${1}-"


def test_replace_all_goes_between_characters() -> None:
    assert call(PATH, "ReplaceAll", "", "éb", "-") == "-é-b-"


def test_a_result_beyond_the_limit_is_refused() -> None:
    text = refusal(PATH, "ReplaceAllLiteral", "a", "aaa", "bbb", limit=5)
    assert text == "the result would have more than the 5 characters allowed"


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing ): ("),
        ("a(?=b)", "invalid perl operator: (?="),
        ("(?<n>a)", "(?< is not supported; a named group is written (?P<name>…)"),
        (r"a\C", r"invalid escape sequence: \C"),
        ("(?P<é>a)", "invalid named capture group: (?P<é>"),
        ("[[:foo:]]", "invalid character class range: [:foo:]"),
    ],
)
def test_an_invalid_expression_is_explained(pattern: str, reason: str) -> None:
    assert refusal(PATH, "Valid", pattern) == f"invalid regular expression {pattern!r}: {reason}"


@pytest.mark.parametrize("pattern", [r"\Q(?<\C\E", r"[(?<]", r"\\C", r"\(\?<"])
def test_what_only_looks_like_an_extension_is_valid(pattern: str) -> None:
    assert call(PATH, "Valid", pattern) is True


@pytest.mark.parametrize("character", r"\.+*?()|[]{}^$")
def test_each_operator_is_quoted(character: str) -> None:
    assert call(PATH, "QuoteMeta", character) == "\\" + character


def test_matching_takes_linear_time() -> None:
    assert call(PATH, "Match", "(a*)*(a*)*(a*)*b", "a" * 100_000) is False


def test_half_of_a_surrogate_pair_is_matched_as_a_replacement_character() -> None:
    assert call(PATH, "Match", "a\ufffdb", "a\ud800b") is True


def test_bytes_are_matched_as_they_are() -> None:
    assert compile_pattern("^.b$").matches(b"ab")


@given(st.text())
def test_a_quoted_text_matches_itself(text: str) -> None:
    assert call(PATH, "Find", call(PATH, "QuoteMeta", text), text) == text
