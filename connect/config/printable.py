"""Texts that a terminal shows instead of obeying."""

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return a text of one line with escapes for characters that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
