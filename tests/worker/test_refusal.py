"""What is read from an answer that refuses, and what is not."""

import httpx
import pytest

from connect.worker.refusal import asked_in_data, asked_in_headers, error_text

SENT = "Mon, 24 Nov 2025 16:00:00 GMT"


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("7", 7), ("999999999", 999_999_999)])
def test_retry_after_is_a_number_of_seconds(text: str, seconds: int) -> None:
    assert asked_in_headers(httpx.Headers({"Retry-After": text})) == seconds


@pytest.mark.parametrize(
    ("until", "seconds"),
    [("Mon, 24 Nov 2025 16:01:30 GMT", 90), ("Tue, 25 Nov 2025 00:00:00 GMT", 8 * 3600)],
)
def test_retry_after_is_a_date_as_seen_by_the_one_who_sends_it(until: str, seconds: int) -> None:
    headers = httpx.Headers({"Retry-After": until, "Date": SENT})
    assert asked_in_headers(headers) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "1.5",
        "1e3",
        "soon",
        "٣",  # a digit, but not one of ASCII
        "9" * 10,
        "9" * 5000,
        "7, 8",
        "Mon, 24 Nov 2025 15:59:59 GMT",
        "Mon, 32 Nov 2025 16:00:00 GMT",
        "Mon, 24 Xyz 2025 16:00:00 GMT",
        "Mon, 24 Nov 9999 16:00:00 GMT",
        "Mon, 24 Nov 99999999999999999999 16:00:00 GMT",
        "Monday, 24-Nov-25 16:01:00 GMT",
    ],
)
def test_a_retry_after_that_means_nothing_is_ignored(text: str) -> None:
    headers = httpx.Headers([(b"Retry-After", text.encode()), (b"Date", SENT.encode())])
    assert asked_in_headers(headers) is None


def test_an_answer_without_retry_after_asks_for_nothing() -> None:
    assert asked_in_headers(httpx.Headers({"Date": SENT})) is None


def test_a_date_is_ignored_where_the_answer_has_none_of_its_own() -> None:
    headers = httpx.Headers({"Retry-After": "Mon, 24 Nov 2025 16:01:30 GMT"})
    assert asked_in_headers(headers) is None


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (b'{"retry_after": 7.5}', 7.5),
        (b'{"retry_after": 3, "more": []}', 3),
        (b'{"retry_after":0}', 0),
    ],
)
def test_data_asks_for_seconds(data: bytes, seconds: float) -> None:
    assert asked_in_data(data) == seconds


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{",
        b"7.5",
        b"{}",
        b'{"retry_after": "7"}',
        b'{"retry_after": true}',
        b'{"retry_after": null}',
        b'{"retry_after": -1}',
        b'{"retry_after": NaN}',
        b'{"retry_after": Infinity}',
        b'{"retry_after": 1e10}',
        b'{"retry_after": ' + b"9" * 400 + b"}",
        b'{"retry_after": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:30]),
)
def test_data_that_means_nothing_is_ignored(data: bytes) -> None:
    assert asked_in_data(data) is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "full", "status": 503}', "full"),
        (b'{"error": 5}', '{"error": 5}'),
        (b"[]", "[]"),
        (b"broken \xff", "broken \N{REPLACEMENT CHARACTER}"),
        (b"", ""),
    ],
)
def test_the_text_of_a_refusal_is_its_error_or_else_its_body(body: bytes, text: str) -> None:
    assert error_text(body) == text


@pytest.mark.parametrize("body", [b"x" * 1000, b'{"error": "' + b"x" * 1000 + b'"}'])
def test_a_long_text_is_cut(body: bytes) -> None:
    assert error_text(body) == "x" * 300


def test_a_body_of_brackets_without_end_is_text() -> None:
    assert error_text(b"[" * 100_000) == "[" * 300
