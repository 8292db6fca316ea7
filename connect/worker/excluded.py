"""Gateway groups to stay away from for a while."""

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

    def add(self, group: str, now: float) -> None:
        """A gateway of this group has failed, or is closing; an empty name is none."""
        if not group:
            return
        self._until.pop(group, None)
        self._until[group] = now + self._seconds
        if len(self._until) > _MOST:
            del self._until[next(iter(self._until))]

    def current(self, now: float) -> list[str]:
        """The groups to avoid now, sorted; those that failed longer ago are forgiven."""
        self._until = {group: until for group, until in self._until.items() if until > now}
        return sorted(self._until)
