"""Session tokens and signing keys."""

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.errors import ConfigurationError, Syscode, SyscodeError
from connect.protocol.tokens import Session, SessionTokens, SigningKeys, hash_signing_key

SECRET = "a secret of at least thirty-two bytes"
ACCOUNT = "00000000-0000-4000-a000-000000000000"
ENV = "00000000-0000-4000-b000-000000000000"
NOW = 1_700_000_000.0

# The hash is what `printf '0123abcd' | xxd -r -p | sha256sum` prints.
KEY = "signkey-test-0123abcd"
KEY_HASH = "2647356804523c847ca70dc0f6c66a28d4cec5f53b9119a9022984ceec35e9da"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> SessionTokens:
    return SessionTokens(SECRET, lifetime=300, now=clock)


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims with some changed; a change to None removes the claim."""
    good = {
        "iss": "connect.inngest.com",
        "aud": "gateway.connect.inngest.com",
        "sub": ACCOUNT,
        "exp": int(NOW) + 300,
        "iat": int(NOW),
        "env": ENV,
        "entitlements": {"appsPerConnection": 10},
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(content: dict[str, Any], **options: Any) -> str:
    return jwt.encode(content, **({"key": SECRET, "algorithm": "HS256"} | options))


def refusal(tokens: SessionTokens, token: str) -> str:
    """Return why a token is refused."""
    with pytest.raises(SyscodeError) as caught:
        tokens.verify(token)
    assert caught.value.code == Syscode.AUTHENTICATION_FAILED
    return caught.value.message


def test_an_issued_token_verifies(tokens: SessionTokens) -> None:
    token = tokens.issue(ACCOUNT, ENV, apps_per_connection=10)
    assert tokens.verify(token) == Session(ACCOUNT, ENV, 10)


def test_an_issued_token_has_the_claims_of_the_protocol(tokens: SessionTokens) -> None:
    token = tokens.issue(ACCOUNT, ENV, apps_per_connection=7)

    content = jwt.decode(token, options={"verify_signature": False})

    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert len(content.pop("jti")) == 26
    assert content == {
        "iss": "connect.inngest.com",
        "aud": "gateway.connect.inngest.com",
        "sub": ACCOUNT,
        "exp": int(NOW) + 300,
        "iat": int(NOW),
        "env": ENV,
        "entitlements": {"appsPerConnection": 7},
    }


def test_a_token_signed_by_any_jwt_library_verifies(tokens: SessionTokens) -> None:
    assert tokens.verify(signed(claims())) == Session(ACCOUNT, ENV, 10)


def test_a_token_is_valid_until_it_expires(tokens: SessionTokens, clock: Clock) -> None:
    token = tokens.issue(ACCOUNT, ENV, apps_per_connection=10)
    clock.now = NOW + 299.9
    tokens.verify(token)
    clock.now = NOW + 300
    assert refusal(tokens, token) == "the session token has expired"


def test_a_token_needs_no_time_of_issue(tokens: SessionTokens) -> None:
    tokens.verify(signed(claims(iat=None)))


def test_a_token_issued_by_a_host_whose_clock_is_ahead_verifies(tokens: SessionTokens) -> None:
    tokens.verify(signed(claims(iat=int(NOW) + 2)))


def test_a_short_secret_makes_the_same_signature_as_anywhere(clock: Clock) -> None:
    tokens = SessionTokens("short", lifetime=300, now=clock)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        foreign = signed(claims(), key="short")
    tokens.verify(foreign)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "the session token is missing"),
        ("a" * 5000, "the session token is too long"),
        ("nonsense", "the session token is not a valid JWT"),
        ("a.b.c", "the session token is not a valid JWT"),
        ("\ud800.b.c", "the session token is not a valid JWT"),
        (
            signed(claims(), key=SECRET.replace("secret", "SECRET")),
            "the session token's signature is wrong",
        ),
        (
            signed(claims(), key=None, algorithm="none"),
            "the session token's algorithm is not HS256",
        ),
        (
            signed(claims(), key=SECRET * 2, algorithm="HS512"),
            "the session token's algorithm is not HS256",
        ),
        (signed(claims(iss="other")), "the session token has another issuer"),
        (signed(claims(iss=None)), "the session token has no iss"),
        (signed(claims(aud="other")), "the session token is for another audience"),
        (signed(claims(aud=None)), "the session token has no aud"),
        (signed(claims(exp=None)), "the session token has no exp"),
        (signed(claims(exp="1800000000")), "the session token's exp is not a time"),
        (signed(claims(exp=True)), "the session token's exp is not a time"),
        (signed(claims(exp=math.nan)), "the session token's exp is not a time"),
        (signed(claims(exp=math.inf)), "the session token's exp is not a time"),
        (signed(claims(exp=10**400)), "the session token's exp is not a time"),
        (signed(claims(exp=int(NOW))), "the session token has expired"),
        (signed(claims(nbf=int(NOW) + 1)), "the session token is not valid yet"),
        (signed(claims(nbf="now")), "the session token's nbf is not a time"),
        (signed(claims(iat="now")), "the session token's iat is not a time"),
        (signed(claims(sub=None)), "the session token has no sub"),
        (signed(claims(sub="account")), "the session token's sub is not a UUID"),
        (signed(claims(sub=ACCOUNT + "\n")), "the session token's sub is not a UUID"),
        (signed(claims(env=None)), "the session token's env is not a UUID"),
        (signed(claims(env=f"{{{ENV}}}")), "the session token's env is not a UUID"),
        (signed(claims(env=1)), "the session token's env is not a UUID"),
        (signed(claims(entitlements=None)), "the session token's entitlements are not valid"),
        (signed(claims(entitlements=[10])), "the session token's entitlements are not valid"),
        (signed(claims(entitlements={})), "the session token's entitlements are not valid"),
        (
            signed(claims(entitlements={"appsPerConnection": True})),
            "the session token's entitlements are not valid",
        ),
        (
            signed(claims(entitlements={"appsPerConnection": -1})),
            "the session token's entitlements are not valid",
        ),
        (
            signed(claims(entitlements={"appsPerConnection": "10"})),
            "the session token's entitlements are not valid",
        ),
    ],
)
def test_a_wrong_token_is_refused_with_the_reason(
    tokens: SessionTokens, token: str, reason: str
) -> None:
    assert refusal(tokens, token) == reason


@pytest.mark.parametrize(
    "header",
    [
        "[" * 1500,
        '{"alg": [], "typ": {}}',
        '{"alg": "HS256", "kid": 1}',
        '{"alg": "HS256", "b64": false, "crit": 1}',
        "1" * 2000,
        "\udc80",
    ],
)
def test_an_odd_header_is_refused(tokens: SessionTokens, header: str) -> None:
    first = base64.urlsafe_b64encode(header.encode(errors="surrogatepass")).decode().rstrip("=")
    refusal(tokens, f"{first}.e30.e30")


def test_odd_content_is_refused_though_it_is_signed(tokens: SessionTokens) -> None:
    for content in (b"[" * 1500, b"1" * 3000, b"[]", b"\xff", json.dumps("text").encode()):
        refusal(tokens, jwt.PyJWS().encode(content, SECRET, algorithm="HS256"))


@given(st.text(max_size=100))
def test_any_text_for_a_token_is_refused(text: str) -> None:
    refusal(SessionTokens(SECRET, lifetime=300, now=lambda: NOW), text)


@given(st.data())
def test_a_changed_token_never_verifies_as_something_else(draw: st.DataObject) -> None:
    tokens = SessionTokens(SECRET, lifetime=300, now=lambda: NOW)
    token = tokens.issue(ACCOUNT, ENV, apps_per_connection=10)
    position = draw.draw(st.integers(0, len(token) - 1))
    changed = token[:position] + draw.draw(st.characters()) + token[position + 1 :]
    try:
        session = tokens.verify(changed)
    except SyscodeError:
        return
    assert session == Session(ACCOUNT, ENV, 10)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("", "the session secret is empty"),
        (
            "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----",
            "the session secret is an asymmetric key; it must be a random text",
        ),
    ],
)
def test_an_unusable_secret_is_a_configuration_error(
    clock: Callable[[], float], secret: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SessionTokens(secret, lifetime=300, now=clock)
    assert str(caught.value) == message


def test_the_hash_of_a_signing_key_keeps_its_prefix() -> None:
    assert hash_signing_key(KEY) == f"signkey-test-{KEY_HASH}"


def test_hex_digits_alone_are_hashed_too() -> None:
    assert hash_signing_key("0123ABCD") == KEY_HASH


@pytest.mark.parametrize(
    "presented", [KEY, "0123abcd", f"signkey-test-{KEY_HASH}", KEY_HASH], ids=str
)
def test_a_key_is_accepted_in_each_of_its_forms(presented: str) -> None:
    assert SigningKeys(["signkey-prod-ff00", KEY]).accepts(presented)


@pytest.mark.parametrize(
    "presented",
    [None, "", "signkey-test-", f"signkey-prod-{KEY_HASH}", "0123abce", KEY + "00", "\ud800"],
)
def test_another_key_is_not_accepted(presented: str | None) -> None:
    assert not SigningKeys([KEY]).accepts(presented)


@pytest.mark.parametrize("presented", [None, "anything"])
def test_without_configured_keys_everyone_is_accepted(presented: str | None) -> None:
    assert SigningKeys([]).accepts(presented)


def test_a_key_is_required_only_if_one_is_configured() -> None:
    assert (SigningKeys([KEY]).required, SigningKeys([]).required) == (True, False)


@pytest.mark.parametrize(
    "key",
    ["", "0123abcd", "signkey-test-", "signkey-test-012", "signkey-test-beef food", "sign-test-ab"],
)
def test_a_malformed_key_is_refused_without_being_quoted(key: str) -> None:
    with pytest.raises(ConfigurationError, match="signkey-<env>-<hex digits>") as caught:
        SigningKeys([key])
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (f"Bearer {KEY}", KEY),
        (f"bearer   {KEY} ", KEY),
        ("Bearer", None),
        ("Bearer ", None),
        (f"Basic {KEY}", None),
        (KEY, None),
        ("", None),
        (None, None),
    ],
)
def test_the_key_is_taken_from_a_bearer_header(header: str | None, key: str | None) -> None:
    assert SigningKeys.from_authorization(header) == key
