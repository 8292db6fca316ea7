"""CEL expressions over events: the conditions of triggers and of waits.

The implementation is `connect.config.expressions`, which definitions are checked with.
"""

from connect.config.expressions import Expression

__all__ = ["Expression"]
