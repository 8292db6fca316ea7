"""Credentials that show themselves, whatever holds them: in URLs, and as signing keys."""

import re

__all__ = ["MASK", "has_credentials", "masked_credentials"]

MASK = "********"

# What stands before the @ of a URL. A password may contain what a URL should write otherwise: a
# quote, or a slash, so that what looks like a host with a port that is no number counts too.
# It is bounded, so that a long text is looked through in little time.
_LOGIN = (
    r"(?<=\w)://(?!\[user:password@)"
    r"(?P<login>[^\s/?#@]{0,1000}:(?!\d{1,5}[/?#])[^\s]{0,1000}|[^\s/?#]{0,1000})@"
)
# The options of a URL that are credentials by their names.
_OPTION = (
    r"(?P<name>[?&][^=&#\s\"']{0,50}(?:pass|pwd|secret|token|credential|key|sig)[^=&#\s\"']{0,50}=)"
    r"(?P<value>[^&#\s\"']+)"
)
_SIGNING_KEY = r"(?P<prefix>\bsign(?:ing)?key-\w+-)(?P<key>\w+)"
_CREDENTIALS = re.compile(f"{_LOGIN}|{_OPTION}|{_SIGNING_KEY}", re.IGNORECASE)


def has_credentials(text: str) -> bool:
    """Tell whether a text contains a URL with a login, or a signing key."""
    return _CREDENTIALS.search(text) is not None


def masked_credentials(text: str) -> str:
    """Return a text without the credentials in it.

    ``https://user:password@host`` keeps its user; a login without a password is hidden
    altogether, since it may be a token.
    """
    return _CREDENTIALS.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    if found["name"] is not None:
        return found["name"] + MASK
    if found["prefix"] is not None:
        return found["prefix"] + MASK
    user, colon, _ = found["login"].partition(":")
    return f"://{user if colon else ''}{colon}{MASK}@"
