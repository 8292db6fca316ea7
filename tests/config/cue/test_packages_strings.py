"""Package ``strings``."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.config.cue.values import Kind, NotConcrete
from tests.config.cue.builtins import Undecided, answer, call, refusal

PATH = "strings"

# The function, its arguments, and its answer as JSON.
ANSWERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("ByteAt", ("abc", 0), "97"),
    ("ByteAt", (b"\xff", 0), "255"),
    ("ByteAt", ("é", 1), "169"),
    ("ByteSlice", ("abc", 0, 3), '"YWJj"'),
    ("ByteSlice", ("abc", 1, 1), '""'),
    ("ByteSlice", (b"abc", 1, 2), '"Yg=="'),
    ("ByteSlice", ("é", 0, 1), '"ww=="'),
    ("Runes", ("",), "[]"),
    ("Runes", ("aé🚀",), "[97,233,128640]"),
    ("Repeat", ("ab", 3), '"ababab"'),
    ("Repeat", ("ab", 0), '""'),
    ("Repeat", ("", 1000000000000), '""'),
    ("MinRunes", ("é", 1), "true"),
    ("MinRunes", ("é", 2), "false"),
    ("MinRunes", ("abc", -1), "true"),
    ("MaxRunes", ("é", 1), "true"),
    ("MaxRunes", ("éa", 1), "false"),
    ("MaxRunes", ("", -1), "false"),
    ("ToTitle", ("hello wORLD foo-bar a_b x.y é1a",), '"Hello WORLD Foo-bar A_b X.y É1a"'),
    ("ToTitle", ("\thello\n wo'rld  ß ǆ",), '"\\tHello\\n Wo\'rld  ß ǅ"'),
    ("ToTitle", ("a\xa0b a\u2003b a\u200bb",), '"A\xa0B A\u2003B A\u200bb"'),
    ("ToTitle", ("",), '""'),
    ("ToCamel", ("Hello World FOO-Bar É1A",), '"hello world fOO-Bar é1A"'),
    ("ToCamel", ("3Com A'B A/B İ",), '"3Com a\'B a/B i"'),
    ("SliceRunes", ("größe", 1, 4), '"röß"'),
    ("SliceRunes", ("größe", 0, 5), '"größe"'),
    ("SliceRunes", ("größe", 5, 5), '""'),
    ("Compare", ("a", "b"), "-1"),
    ("Compare", ("b", "a"), "1"),
    ("Compare", ("a", "a"), "0"),
    ("Compare", ("\uffff", "𐀀"), "-1"),
    ("Count", ("cheese", "e"), "3"),
    ("Count", ("é", ""), "2"),
    ("Count", ("", ""), "1"),
    ("Count", ("aaaa", "aa"), "2"),
    ("Contains", ("abc", ""), "true"),
    ("Contains", ("", "a"), "false"),
    ("ContainsAny", ("abc", "xyzc"), "true"),
    ("ContainsAny", ("abc", ""), "false"),
    ("ContainsAny", ("", ""), "false"),
    ("Index", ("éa", "a"), "2"),
    ("Index", ("a", "b"), "-1"),
    ("Index", ("a", ""), "0"),
    ("LastIndex", ("éaéa", "a"), "5"),
    ("LastIndex", ("é", ""), "2"),
    ("LastIndex", ("abc", "x"), "-1"),
    ("IndexAny", ("golang", "gy"), "0"),
    ("IndexAny", ("élang", "gn"), "4"),
    ("IndexAny", ("golang", ""), "-1"),
    ("LastIndexAny", ("golang", "go"), "5"),
    ("LastIndexAny", ("é go", "o"), "4"),
    ("LastIndexAny", ("aéb", "é"), "1"),
    ("LastIndexAny", ("golang", ""), "-1"),
    ("Split", ("a,b,", ","), '["a","b",""]'),
    ("Split", ("", ","), '[""]'),
    ("Split", ("", ""), "[]"),
    ("Split", ("aéc", ""), '["a","é","c"]'),
    ("Split", ("aaa", "aa"), '["","a"]'),
    ("SplitN", ("a,b,c", ",", 2), '["a","b,c"]'),
    ("SplitN", ("a,b,c", ",", 0), "[]"),
    ("SplitN", ("a,b,c", ",", -1), '["a","b","c"]'),
    ("SplitN", ("a,b,c", ",", 1), '["a,b,c"]'),
    ("SplitN", ("abc", "", 2), '["a","bc"]'),
    ("SplitN", ("abc", "", 9), '["a","b","c"]'),
    ("SplitN", ("", "", 2), "[]"),
    ("SplitAfter", ("a,b,c,", ","), '["a,","b,","c,",""]'),
    ("SplitAfter", ("aéc", ""), '["a","é","c"]'),
    ("SplitAfter", ("", ","), '[""]'),
    ("SplitAfterN", ("a,b,c", ",", 2), '["a,","b,c"]'),
    ("SplitAfterN", ("a,b,c", ",", 0), "[]"),
    ("SplitAfterN", ("abc", "", 2), '["a","bc"]'),
    (
        "Fields",
        ("  a  b\tc\n d\xa0e\u2003f\x85g\u200bh \x1cx",),
        '["a","b","c","d","e","f","g\u200bh","\\u001cx"]',
    ),
    ("Fields", ("   ",), "[]"),
    ("Join", ([], ","), '""'),
    ("Join", (["a"], ","), '"a"'),
    ("Join", (["a", "b", "c"], ", "), '"a, b, c"'),
    ("HasPrefix", ("abc", ""), "true"),
    ("HasPrefix", ("abc", "abcd"), "false"),
    ("HasSuffix", ("abc", "bc"), "true"),
    ("HasSuffix", ("abc", "ab"), "false"),
    ("ToUpper", ("aéßŉǆﬁ",), '"AÉßŉǄﬁ"'),
    ("ToUpper", ("stra\xdfe \ufb00 \u0131 i \u017f \u1fb3",), '"STRAßE ﬀ I I S ᾼ"'),
    (
        "ToLower",
        ("A\xc9\u0130\u03a3\u0391\u03a3 \u1e9e K \xc5",),
        '"a\xe9i\u03c3\u03b1\u03c3 \xdf k \xe5"',
    ),
    ("Trim", ("xxabyx", "xy"), '"ab"'),
    ("Trim", ("abc", ""), '"abc"'),
    ("Trim", ("éaé", "é"), '"a"'),
    ("TrimLeft", ("xxabxx", "x"), '"abxx"'),
    ("TrimRight", ("xxabxx", "x"), '"xxab"'),
    ("TrimSpace", (" \t\n\x0b\x0c\r\x85\xa0\u2003a\u200b \u3000\u2028",), '"a\u200b"'),
    ("TrimSpace", ("\x1ca\x1f",), '"\\u001ca\\u001f"'),
    ("TrimPrefix", ("abcabc", "abc"), '"abc"'),
    ("TrimPrefix", ("abc", "x"), '"abc"'),
    ("TrimSuffix", ("abcabc", "abc"), '"abc"'),
    ("TrimSuffix", ("abc", ""), '"abc"'),
    ("Replace", ("aaaa", "a", "b", 2), '"bbaa"'),
    ("Replace", ("aaaa", "a", "b", 0), '"aaaa"'),
    ("Replace", ("aaaa", "a", "b", -5), '"bbbb"'),
    ("Replace", ("abc", "", "-", -1), '"-a-b-c-"'),
    ("Replace", ("aéc", "", "-", 2), '"-a-éc"'),
    ("Replace", ("", "", "-", -1), '"-"'),
    ("Replace", ("aaa", "aa", "b", -1), '"ba"'),
]

# The function, and arguments that it refuses.
REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("ByteAt", ("abc", 3)),
    ("ByteAt", ("abc", -1)),
    ("ByteSlice", ("abc", 2, 1)),
    ("ByteSlice", ("abc", -1, 1)),
    ("ByteSlice", ("abc", 0, 4)),
    ("Repeat", ("ab", -1)),
    ("SliceRunes", ("größe", 0, 6)),
    ("SliceRunes", ("größe", 3, 2)),
    ("SliceRunes", ("größe", -1, 2)),
    ("Join", (["a", 1], ",")),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ANSWERS)
def test_answers(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert answer(PATH, name, *arguments) == expected


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_refuses(name: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(PATH, name, *arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Repeat", ("x", 10**9)),
        ("Replace", ("a" * 1000, "a", "b" * 10_000, -1)),
        ("Join", (["a" * 100_000] * 20, "-")),
    ],
)
def test_hostile_sizes_are_refused_before_anything_is_made(
    name: str, arguments: tuple[Any, ...]
) -> None:
    assert "more than the 1048576 characters allowed" in refusal(PATH, name, *arguments)


def test_the_caller_sets_the_limit() -> None:
    assert "more than the 5 characters" in refusal(PATH, "Repeat", "ab", 3, limit=5)


def test_a_count_beyond_64_bits_is_refused() -> None:
    text = refusal(PATH, "Repeat", "a", 10**30)
    assert text == f"argument 2 is {10**30}; it must fit into 64 bits"


def test_a_refused_index_says_what_would_be_right() -> None:
    assert refusal(PATH, "ByteAt", "abc", 3) == "index 3 is out of range; there are 3 bytes"


def test_an_element_that_is_no_string_is_named() -> None:
    assert refusal(PATH, "Join", ["a", 1], "") == "element 1 is of type int; expected string"


def test_an_element_that_may_become_a_string_is_waited_for() -> None:
    with pytest.raises(NotConcrete, match="element 1 is not concrete"):
        call(PATH, "Join", ["a", Undecided(Kind.STRING | Kind.INT)], "")


@given(st.text(), st.text(min_size=1))
def test_join_inverts_split(text: str, separator: str) -> None:
    assert call(PATH, "Join", call(PATH, "Split", text, separator), separator) == text


@given(st.text(), st.text())
def test_an_index_counts_bytes_of_utf_8(text: str, part: str) -> None:
    assert call(PATH, "Index", text, part) == text.encode().find(part.encode())
