"""Who may connect: session tokens for sockets, signing keys for the worker API.

Both are rules of the Connect protocol, section 3.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jwt
from ulid import ULID

from connect.errors import ConfigurationError, Syscode, SyscodeError

__all__ = ["Session", "SessionTokens", "SigningKeys", "hash_signing_key"]

_ISSUER = "connect.inngest.com"
_AUDIENCE = "gateway.connect.inngest.com"
_ALGORITHM = "HS256"
_HMAC_KEY_BYTES = 32  # what PyJWT asks of a key for HS256

# Ours are under 600 characters; what is far longer is not worth decoding.
_LONGEST_TOKEN = 4096

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SIGNING_KEY = re.compile(r"(?P<prefix>signkey-\w+-)?(?P<secret>(?:[0-9a-fA-F]{2})+)")


@dataclass(frozen=True, slots=True)
class Session:
    """What a verified session token says.

    Attributes:
        account_id: a UUID.
        env_id: a UUID.
        apps_per_connection: the entitlement; the hard cap is not applied yet.
    """

    account_id: str
    env_id: str
    apps_per_connection: int


class SessionTokens:
    """Issues and verifies the tokens that admit workers to a gateway.

    A token is a JWT, HS256, signed with a secret that all API processes and gateways
    of a deployment share. It is looked at when a worker connects, and never again: the
    connection outlives it.

    Args:
        secret: the shared secret; should be 32 bytes or longer.
        accepted: further secrets by which tokens may be signed: the one before, or the next.
        lifetime: seconds for which a token is valid.
        now: the current time, in unix seconds.

    Raises:
        ConfigurationError: a secret is empty or is a public key by mistake.
    """

    def __init__(
        self,
        secret: str,
        *,
        accepted: Iterable[str] = (),
        lifetime: float,
        now: Callable[[], float],
    ) -> None:
        self._lifetime = lifetime
        self._now = now
        self._keys = _hmac_keys(secret, accepted)

    def replace(self, secret: str, accepted: Iterable[str] = ()) -> None:
        """Take other secrets from now on, all at once; open connections are not touched.

        Where several processes share the secret, none is to refuse what another one issues:
        let all accept the new one, then all issue by it, and let the old one go when the
        last token by it has expired.

        Args:
            secret: what tokens are signed with.
            accepted: by what else they may be signed.

        Raises:
            ConfigurationError: as the constructor; nothing has changed then.
        """
        self._keys = _hmac_keys(secret, accepted)

    def issue(self, account_id: str, env_id: str, *, apps_per_connection: int) -> str:
        """Return a new token.

        Args:
            account_id: a UUID.
            env_id: a UUID.
            apps_per_connection: how many apps one connection may have.
        """
        now = self._now()
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": account_id,
            "exp": math.ceil(now + self._lifetime),
            "iat": int(now),
            "jti": str(ULID.from_timestamp(now)),
            "env": env_id,
            "entitlements": {"appsPerConnection": apps_per_connection},
        }
        return jwt.encode(claims, self._keys[0], algorithm=_ALGORITHM)

    def verify(self, token: str) -> Session:
        """Return what a token says, once all of it is right.

        The time of issue is not held against the clock: the hosts that issue and
        verify a token may differ by more than the moment between.

        Raises:
            SyscodeError: with AUTHENTICATION_FAILED: the token is missing, is no JWT,
                has expired, has another issuer, audience, algorithm or signature, lacks
                a claim, or a claim is of the wrong type. The message never quotes it.
        """
        claims = self._decode(token)
        now = self._now()
        if _timestamp(claims, "exp") <= now:
            raise _refused("the session token has expired")
        if "nbf" in claims and _timestamp(claims, "nbf") > now:
            raise _refused("the session token is not valid yet")
        if "iat" in claims:
            _timestamp(claims, "iat")
        entitlements = claims.get("entitlements")
        apps = entitlements.get("appsPerConnection") if isinstance(entitlements, dict) else None
        if not isinstance(apps, int) or isinstance(apps, bool) or apps < 0:
            raise _refused("the session token's entitlements are not valid")
        return Session(_uuid(claims, "sub"), _uuid(claims, "env"), apps)

    def _decode(self, token: str) -> dict[str, Any]:
        """Return the claims of a token with the right signature, issuer and audience."""
        if not token:
            raise _refused("the session token is missing")
        if len(token) > _LONGEST_TOKEN:
            raise _refused("the session token is too long")
        *others, last = self._keys
        for key in others:
            with suppress(jwt.InvalidSignatureError):
                return self._decode_by(key, token)
        try:
            return self._decode_by(last, token)
        except jwt.InvalidSignatureError:
            raise _refused("the session token's signature is wrong") from None

    def _decode_by(self, key: bytes, token: str) -> dict[str, Any]:
        """Return the claims of a token; raises jwt.InvalidSignatureError if another key made it."""
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    # PyJWT would ask the system clock; `verify` asks ours.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.InvalidAlgorithmError:
            reason = "the session token's algorithm is not HS256"
        except jwt.InvalidIssuerError:
            reason = "the session token has another issuer"
        except jwt.InvalidAudienceError:
            reason = "the session token is for another audience"
        except jwt.MissingRequiredClaimError as error:
            reason = f"the session token has no {error.claim}"
        # The others are what PyJWT lets through of a JWT's own JSON: too deep a
        # nesting, too long a number, a header of odd types.
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            reason = "the session token is not a valid JWT"
        raise _refused(reason)


def _hmac_keys(secret: str, accepted: Iterable[str]) -> tuple[bytes, ...]:
    """Return the keys of session secrets, the signing one first."""
    keys = []
    for each in (secret, *accepted):
        if not each:
            raise ConfigurationError("the session secret is empty")
        # HMAC itself fills a short key up with zeros: this changes no signature, but
        # keeps PyJWT from warning on every token.
        key = each.encode().ljust(_HMAC_KEY_BYTES, b"\0")
        try:
            jwt.encode({}, key, algorithm=_ALGORITHM)
        except jwt.InvalidKeyError:
            raise ConfigurationError(
                "the session secret is an asymmetric key; it must be a random text"
            ) from None
        keys.append(key)
    return tuple(keys)


def _refused(reason: str) -> SyscodeError:
    return SyscodeError(Syscode.AUTHENTICATION_FAILED, reason)


def _timestamp(claims: Mapping[str, Any], name: str) -> float:
    """Return a claim that is a time in unix seconds."""
    value = claims[name]
    # An integer can be too large for a float, and is then as wrong as infinity.
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53:
        return value
    raise _refused(f"the session token's {name} is not a time")


def _uuid(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim that is a UUID."""
    value = claims.get(name)
    if isinstance(value, str) and _UUID.fullmatch(value):
        return value
    raise _refused(f"the session token's {name} is not a UUID")


def hash_signing_key(key: str) -> str:
    """Return the form of a signing key in which workers present it.

    Args:
        key: ``signkey-<env>-<hex>``, or the hex digits alone.

    Returns:
        SHA-256 over the decoded hex digits, as hex, after the key's prefix.

    Raises:
        ConfigurationError: the key has another form; the text does not quote it.
    """
    prefix, secret = _split_signing_key(key)
    return prefix + hashlib.sha256(bytes.fromhex(secret)).hexdigest()


def _split_signing_key(key: str) -> tuple[str, str]:
    """Return a key's prefix, which may be empty, and its hex digits."""
    parts = _SIGNING_KEY.fullmatch(key)
    if parts is None:
        raise ConfigurationError("a signing key is not of the form signkey-<env>-<hex digits>")
    return parts["prefix"] or "", parts["secret"]


class SigningKeys:
    """The keys that admit workers to the worker API.

    Args:
        keys: keys of the form ``signkey-<env>-<hex>``; without any, every worker is
            admitted.

    Raises:
        ConfigurationError: a key has another form; the text does not quote it.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._accepted = _accepted_digests(keys)

    def replace(self, keys: Iterable[str]) -> None:
        """Admit by other keys from now on, all at once; open connections are not touched.

        Several keys are valid at once: give the old ones and the new, bring the new one to
        the workers, then leave the old ones out.

        Raises:
            ConfigurationError: a key has another form, or there is none where there were
                some: a running service does not begin to let everyone in. Nothing has
                changed then.
        """
        accepted = _accepted_digests(keys)
        if self._accepted and not accepted:
            raise ConfigurationError(
                "the last signing key cannot be taken from a running service: "
                "it would let everyone in"
            )
        self._accepted = accepted

    @property
    def required(self) -> bool:
        """Whether workers must present a key."""
        return bool(self._accepted)

    def accepts(self, presented: str | None) -> bool:
        """Tell whether a worker may come in.

        Every key is compared, in constant time, whatever the outcome.

        Args:
            presented: a key, plain or hashed, with or without its prefix; None when
                the worker presented none, which is right only if none is required.
        """
        if not self._accepted:
            return True
        if presented is None:
            return False
        digest = _digest(presented)
        found = False
        for accepted in self._accepted:
            found |= hmac.compare_digest(accepted, digest)
        return found

    @staticmethod
    def from_authorization(header: str | None) -> str | None:
        """Return the key in an Authorization header, or None if it holds no bearer key."""
        scheme, _, key = (header or "").strip().partition(" ")
        return (key.strip() or None) if scheme.lower() == "bearer" else None


def _accepted_digests(keys: Iterable[str]) -> tuple[bytes, ...]:
    """Return the digests of all forms in which these keys may be presented."""
    accepted: set[bytes] = set()
    for key in keys:
        prefix, _ = _split_signing_key(key)
        if not prefix:
            raise ConfigurationError(
                "a signing key lacks its prefix: expected signkey-<env>-<hex digits>"
            )
        for form in (key, hash_signing_key(key)):
            accepted |= {_digest(form), _digest(form.removeprefix(prefix))}
    return tuple(accepted)


def _digest(text: str) -> bytes:
    """Return a digest, so that comparing takes the same time for every length."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
