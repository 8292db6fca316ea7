"""Changing session secrets and signing keys under a running service."""

import pytest

from connect.errors import ConfigurationError, Syscode, SyscodeError
from connect.protocol.tokens import SessionTokens, SigningKeys

ACCOUNT = "00000000-0000-4000-a000-000000000000"
ENV = "00000000-0000-4000-b000-000000000000"
NOW = 1_700_000_000.0
OLD, NEW, OTHER = (
    f"{name} secret of at least thirty-two bytes" for name in ("old", "new", "other")
)
OLD_KEY, NEW_KEY = "signkey-test-01", "signkey-test-02"
ASYMMETRIC = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----"


def tokens(secret: str, *accepted: str) -> SessionTokens:
    return SessionTokens(secret, accepted=accepted, lifetime=300, now=lambda: NOW)


def issued(by: SessionTokens) -> str:
    return by.issue(ACCOUNT, ENV, apps_per_connection=10)


def verifies(by: SessionTokens, token: str) -> bool:
    try:
        return by.verify(token).account_id == ACCOUNT
    except SyscodeError as error:
        return error.code != Syscode.AUTHENTICATION_FAILED


@pytest.mark.parametrize("secret", [NEW, OLD, OTHER])
def test_a_token_by_any_accepted_secret_verifies(secret: str) -> None:
    assert verifies(tokens(NEW, OLD, OTHER), issued(tokens(secret)))


def test_a_token_by_another_secret_is_refused() -> None:
    assert not verifies(tokens(NEW, OLD), issued(tokens(OTHER)))


def test_tokens_are_issued_by_the_first_secret() -> None:
    assert verifies(tokens(NEW), issued(tokens(NEW, OLD)))


def test_what_else_is_wrong_with_a_token_by_the_second_secret_is_said() -> None:
    late = SessionTokens(NEW, accepted=[OLD], lifetime=300, now=lambda: NOW + 301)
    with pytest.raises(SyscodeError, match="has expired"):
        late.verify(issued(tokens(OLD)))


def test_a_token_from_before_the_change_verifies_while_its_secret_is_accepted() -> None:
    changing = tokens(OLD)
    before = issued(changing)
    changing.replace(NEW, [OLD])
    assert verifies(changing, before)
    changing.replace(NEW)
    assert not verifies(changing, before)


def test_tokens_are_issued_by_the_new_secret_after_the_change() -> None:
    changing = tokens(OLD)
    changing.replace(NEW, [OLD])
    assert verifies(tokens(NEW), issued(changing))


def test_in_the_order_that_is_told_no_process_refuses_another() -> None:
    one, other = tokens(OLD), tokens(OLD)
    for step in ((OLD, [NEW]), (NEW, [OLD]), (NEW, [])):
        for process in (one, other):
            process.replace(*step)
            assert verifies(one, issued(other))
            assert verifies(other, issued(one))


@pytest.mark.parametrize("wrong", [("", [OLD]), (NEW, [""]), (ASYMMETRIC, []), (NEW, [ASYMMETRIC])])
def test_wrong_secrets_change_nothing(wrong: tuple[str, list[str]]) -> None:
    changing = tokens(OLD)
    with pytest.raises(ConfigurationError, match="the session secret is"):
        changing.replace(*wrong)
    assert verifies(tokens(OLD), issued(changing))


def test_several_signing_keys_are_valid_at_once() -> None:
    keys = SigningKeys([OLD_KEY])
    keys.replace([OLD_KEY, NEW_KEY])
    assert (keys.accepts(OLD_KEY), keys.accepts(NEW_KEY)) == (True, True)


def test_a_signing_key_that_is_left_out_is_valid_no_more() -> None:
    keys = SigningKeys([OLD_KEY, NEW_KEY])
    keys.replace([NEW_KEY])
    assert (keys.accepts(OLD_KEY), keys.accepts(NEW_KEY)) == (False, True)


@pytest.mark.parametrize(
    ("wrong", "message"), [([], "let everyone in"), ([NEW_KEY, "nonsense"], "not of the form")]
)
def test_wrong_signing_keys_change_nothing(wrong: list[str], message: str) -> None:
    keys = SigningKeys([OLD_KEY])
    with pytest.raises(ConfigurationError, match=message):
        keys.replace(wrong)
    assert (keys.accepts(OLD_KEY), keys.accepts(NEW_KEY)) == (True, False)


def test_keys_may_be_asked_for_from_now_on() -> None:
    keys = SigningKeys([])
    keys.replace([NEW_KEY])
    assert (keys.required, keys.accepts(OLD_KEY)) == (True, False)
