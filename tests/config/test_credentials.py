"""Credentials are recognised wherever they stand, in any quoting."""

import time

import pytest

from connect.config.credentials import has_credentials, masked_credentials


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("not 'https://u:hunter2@h/?x=1'", "not 'https://u:********@h/?x=1'"),
        ('"https://u:hunter2@h"', '"https://u:********@h"'),
        ("`redis://:hunter2@a,b:1/x`", "`redis://:********@a,b:1/x`"),
        ("https://u:hun'ter\"2@h", "https://u:********@h"),
        ("https://u:hun/ter2@h/x", "https://u:********@h/x"),
        ("https://u:hun@ter2@h", "https://u:********@h"),
        ("https://hunter2@h", "https://********@h"),
        ("https://h/?a=1&token=hunter2&b=2", "https://h/?a=1&token=********&b=2"),
        ("redis://h?password=hunter2", "redis://h?password=********"),
        ("key signkey-test-a1b2c3", "key signkey-test-********"),
        ("redis://a:x@h and redis://b:y@i", "redis://a:********@h and redis://b:********@i"),
    ],
)
def test_credentials_are_masked(text: str, masked: str) -> None:
    assert has_credentials(text)
    assert masked_credentials(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "redis://host:6379/0",
        "http://host/a:b@c",
        "http://host:80/a@b",
        "http://host/?page=2",
        "write to a@b.example",
        "signkey-<env>-<hex digits>",
        "redis://[user:password@]host[:port][/db]",
        "https://[::1]:8288/x",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert not has_credentials(text)
    assert masked_credentials(text) == text


@pytest.mark.parametrize("part", ["a", "a://b:c", "?key", "signkey-a-", "://"])
def test_a_long_text_is_looked_at_in_little_time(part: str) -> None:
    began = time.process_time()
    has_credentials(part * 20_000)
    assert time.process_time() - began < 5
