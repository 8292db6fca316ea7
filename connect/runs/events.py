"""Events, and the bus that brings them to the runs that wait for one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio
from ulid import ULID

from connect.runs.errors import ExpressionError, InvalidEvent, TooManyWaits

__all__ = ["INVOKED", "Event", "EventBus"]

# The name of the event that an invoked, rather than triggered, function gets.
INVOKED = "inngest/function.invoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, as functions get it.

    Attributes:
        id: chosen by the sender, or else a new ULID.
        ts: when it happened, in unix milliseconds.
    """

    id: str
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)
    user: Mapping[str, Any] = field(default_factory=dict)
    ts: int = 0

    @classmethod
    def from_json(
        cls, value: object, *, now: float, path: str = "event", name: str | None = None
    ) -> "Event":
        """Read an event as a client sends it; ``id``, ``ts`` and ``user`` may be absent.

        Args:
            value: decoded JSON.
            now: the current time, in unix seconds, for an event without a time.
            path: what errors call the value.
            name: for an event without a name; None makes the name necessary.

        Raises:
            InvalidEvent: a field is missing or of the wrong type.
        """
        if not isinstance(value, Mapping):
            raise InvalidEvent(path, "expected an object")
        event_name = value.get("name") or name
        if not isinstance(event_name, str) or not event_name:
            raise InvalidEvent(f"{path}.name", "expected a non-empty string")
        event_id = value.get("id") or str(ULID.from_timestamp(now))
        if not isinstance(event_id, str):
            raise InvalidEvent(f"{path}.id", "expected a string")
        ts = value.get("ts") or int(now * 1000)
        if isinstance(ts, bool) or not isinstance(ts, int):
            raise InvalidEvent(f"{path}.ts", "expected unix milliseconds")
        return cls(
            id=event_id,
            name=event_name,
            data=_object(value, "data", path),
            user=_object(value, "user", path),
            ts=ts,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form in which functions get it."""
        return {
            "id": self.id,
            "name": self.name,
            "data": dict(self.data),
            "user": dict(self.user),
            "ts": self.ts,
        }


def _object(value: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    found = value.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise InvalidEvent(f"{path}.{key}".lstrip("."), "expected an object")
    return found


@dataclass(eq=False, slots=True)
class _Wait:
    """One pending wait, and what came of it."""

    matches: Callable[[Event], bool]
    over: trio.Event = field(default_factory=trio.Event)
    event: Event | None = None
    error: ExpressionError | None = None


class EventBus:
    """Brings published events to waiting runs, within this process.

    An event goes to every wait that it matches, and a wait takes one event. Nothing is
    kept for waits that come later, so the bus holds no more than its pending waits.

    Args:
        max_waits: how many waits may be pending.
    """

    def __init__(self, *, max_waits: int = 10_000) -> None:
        self._max_waits = max_waits
        self._waits: dict[str, set[_Wait]] = {}
        self._pending = 0

    @property
    def pending(self) -> int:
        """How many waits are pending."""
        return self._pending

    def publish(self, event: Event) -> int:
        """Give the event to the waits that it matches.

        Returns:
            How many waits took it.
        """
        taken = 0
        for wait in tuple(self._waits.get(event.name, ())):
            if wait.over.is_set():
                continue
            try:
                if not wait.matches(event):
                    continue
            except ExpressionError as error:
                wait.error = error
            else:
                wait.event = event
                taken += 1
            wait.over.set()
        return taken

    async def wait(self, name: str, matches: Callable[[Event], bool]) -> Event:
        """Return the next event of that name that matches.

        Events count from the moment of the call. Cancelling gives the wait up.

        Args:
            name: the exact name of the event.
            matches: called in `publish`; may raise `ExpressionError`.

        Raises:
            ExpressionError: what `matches` raised.
            TooManyWaits: the bus is full.
        """
        if self._pending >= self._max_waits:
            raise TooManyWaits(self._max_waits)
        wait = _Wait(matches)
        self._waits.setdefault(name, set()).add(wait)
        self._pending += 1
        try:
            await wait.over.wait()
        finally:
            self._pending -= 1
            waits = self._waits[name]
            waits.discard(wait)
            if not waits:
                del self._waits[name]
        if wait.event is None:
            raise wait.error or AssertionError("a wait is over for a reason")
        return wait.event
