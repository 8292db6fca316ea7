"""The hash that tells which workers run the same code."""

import hashlib
import json

import rfc8785

__all__ = ["group_hash"]


def group_hash(
    *,
    account_id: str,
    env_id: str,
    sdk_language: str,
    sdk_version: str,
    platform: str | None,
    app_version: str | None,
    functions: bytes,
) -> str:
    """Return the group hash of one app of a worker, in hex.

    It is SHA-256 over ``account:env:language:version:platform:F:app_version``, where F
    is the raw SHA-256 of the functions in canonical form (RFC 8785). Two workers
    with the same code share it; a new deploy makes a new one.

    Args:
        platform: where the worker runs; None counts as ``-``.
        app_version: None counts as empty.
        functions: the function definitions, JSON.

    Raises:
        ValueError: the functions are not JSON, or JSON without a canonical form
            (a number out of range, a lone surrogate); the text says why.
    """
    canonical = hashlib.sha256(_canonical(functions)).digest()
    head = ":".join(
        (account_id, env_id, sdk_language, sdk_version, "-" if platform is None else platform)
    )
    whole = b":".join((head.encode(), canonical, (app_version or "").encode()))
    return hashlib.sha256(whole).hexdigest()


def _canonical(document: bytes) -> bytes:
    try:
        value = json.loads(document, parse_constant=_refuse_constant)
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"functions have no canonical form: {error}") from error
    except RecursionError as error:
        raise ValueError("functions are nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"functions are not valid JSON: {error}") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")
