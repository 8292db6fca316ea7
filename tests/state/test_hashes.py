"""The group hash: equal for the same code, different otherwise."""

import hashlib
from typing import Any

import pytest

from connect.state.hashes import group_hash

BASE: dict[str, Any] = {
    "account_id": "acct",
    "env_id": "env",
    "sdk_language": "go",
    "sdk_version": "v1",
    "platform": None,
    "app_version": None,
    "functions": b'[{"id": "a", "n": 1.0}]',
}


def test_hash_is_sha256_over_the_joined_parts() -> None:
    functions = hashlib.sha256(b'[{"id":"a","n":1}]').digest()
    expected = hashlib.sha256(b"acct:env:go:v1:-:" + functions + b":").hexdigest()
    assert group_hash(**BASE) == expected


def test_hash_contains_platform_and_version() -> None:
    functions = hashlib.sha256(b"[]").digest()
    expected = hashlib.sha256(b"acct:env:go:v1:k8s:" + functions + b":7").hexdigest()
    parts = BASE | {"platform": "k8s", "app_version": "7", "functions": b"[]"}
    assert group_hash(**parts) == expected


def test_order_and_spacing_of_the_functions_json_do_not_matter() -> None:
    assert group_hash(**BASE) == group_hash(**BASE | {"functions": b'[{"n":1,"id":"a"}]'})


@pytest.mark.parametrize(
    "changes",
    [
        {"functions": b"[]"},
        {"app_version": "2"},
        {"platform": "k8s"},
        {"sdk_version": "v2"},
        {"env_id": "other"},
    ],
)
def test_every_part_changes_the_hash(changes: dict[str, Any]) -> None:
    assert group_hash(**BASE | changes) != group_hash(**BASE)


@pytest.mark.parametrize(
    ("functions", "reason"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b"[1e400]", "no canonical form"),
        (b"[123456789012345678901]", "no canonical form"),
        (b'["\\ud800"]', "no canonical form"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_functions_without_a_canonical_form_are_refused(functions: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        group_hash(**BASE | {"functions": functions})
