"""Gateway groups to stay away from for a while, or to come to no sooner than they asked."""

import math

__all__ = ["ExcludedGateways"]

# More gateways than this cannot usefully be avoided; the one that failed first is forgiven.
_MOST = 64


class ExcludedGateways:
    """The groups that failed lately: what a worker asks the API to avoid (StartRequest).

    Args:
        seconds: how long a failure counts.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    def add(self, group: str, now: float, *, wait: float = 0.0) -> None:
        """A gateway of this group has failed, or is closing; an empty name is none.

        Args:
            wait: for how many seconds it asked not to come again.
        """
        if not group:
            return
        for moments, seconds in ((self._until, self._seconds), (self._not_before, wait)):
            moments.pop(group, None)
            moments[group] = now + seconds
            if len(moments) > _MOST:
                del moments[next(iter(moments))]

    def not_before(self, group: str) -> float:
        """When to come to this group at the earliest, though it be the only one."""
        return self._not_before.get(group, -math.inf)

    def current(self, now: float) -> list[str]:
        """The groups to avoid now, sorted; those that failed longer ago are forgiven."""
        self._until = {group: until for group, until in self._until.items() if until > now}
        return sorted(self._until)
