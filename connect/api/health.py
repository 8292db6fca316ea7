"""Whether the service lives, and whether it is ready for work."""

from collections.abc import Awaitable, Callable

import trio
from starlette.requests import Request
from starlette.responses import Response

from connect.api.http import error_response, json_response
from connect.errors import StoreUnavailable

__all__ = ["Health", "Ready"]

Ready = Callable[[], str | None]
"""Says why the service is not ready; None when it is."""

_STORE_DEADLINE = 1.0  # seconds; a store slower than that serves nobody


class Health:
    """Endpoints for those who watch the service.

    Args:
        ping: returns when the state store answers.
        ready: further reasons not to be ready, such as that the service stops.
    """

    def __init__(self, ping: Callable[[], Awaitable[None]], ready: Ready) -> None:
        self._ping = ping
        self._ready = ready

    async def alive(self, _request: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        reasons = await self._reasons()
        if not reasons:
            return json_response({"status": "ready"})
        return error_response(503, f"not ready: {'; '.join(reasons)}", reasons=reasons)

    async def _reasons(self) -> list[str]:
        reasons = []
        with trio.move_on_after(_STORE_DEADLINE) as scope:
            try:
                await self._ping()
            except StoreUnavailable as error:
                reasons.append(f"the state store does not answer: {error}")
        if scope.cancelled_caught:
            reasons.append(f"the state store does not answer within {_STORE_DEADLINE:g} s")
        reason = self._ready()
        return reasons if reason is None else [*reasons, reason]
