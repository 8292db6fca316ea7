"""Running functions over HTTP: ``POST /v0/invoke`` and the event API, ``POST /e/{key}``."""

import hmac
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import Response

from connect.api.http import (
    CLIENT_CLOSED_REQUEST,
    Access,
    ApiError,
    error_response,
    json_response,
    read_body,
    store_unavailable,
)
from connect.errors import (
    ExecutorClosing,
    StoreUnavailable,
    Syscode,
    SyscodeError,
    TryLater,
)
from connect.protocol.durations import parse_duration
from connect.runs import (
    Event,
    FunctionNotFound,
    InvalidEvent,
    Runner,
    RunTimeout,
    TooManyRuns,
    TriggeredRuns,
    jsontext,
)
from connect.settings import Settings

__all__ = ["RunApi"]

_DEFAULT_TIMEOUT = 60.0

# When a caller may find a worker with room again, in seconds.
_CAPACITY_AFTER = 1.0

_STATUS_OF: Mapping[str, int] = {
    Syscode.NO_HEALTHY_CONNECTION: 503,
    Syscode.ALL_WORKERS_AT_CAPACITY: 429,
    Syscode.WORKER_AT_CAPACITY: 429,
    Syscode.EXECUTOR_AT_CAPACITY: 429,
    Syscode.EXECUTOR_CLOSING: 503,
    Syscode.WORKER_STOPPED_RESPONDING: 504,
    Syscode.REQUEST_TOO_LONG: 504,
}


class RunApi:
    """Endpoints that run functions.

    Args:
        event_keys: the keys that ``/e/{key}`` takes. Without any, a signing key is needed
            there too when one is configured, and any event key will do.
    """

    def __init__(
        self,
        runner: Runner,
        triggered: TriggeredRuns,
        *,
        settings: Settings,
        access: Access,
        event_keys: Sequence[str],
        now: Callable[[], float],
    ) -> None:
        self._runner = runner
        self._triggered = triggered
        self._settings = settings
        self._access = access
        self._event_keys = [key.encode() for key in event_keys]
        self._now = now

    async def invoke(self, request: Request) -> Response:
        """Run a function to its end; the run is cancelled when the client goes away."""
        self._access.presented(request)
        asked = await self._json(request)
        if not isinstance(asked, Mapping):
            raise ApiError(400, "the body must be a JSON object", code="invalid_body")
        slug = asked.get("function")
        if not isinstance(slug, str) or not slug:
            raise ApiError(400, "function must be the slug of a function", code="invalid_body")
        data, event = asked.get("data"), asked.get("event")
        if ("data" in asked) is ("event" in asked):
            raise ApiError(
                400, "give either data or event: one of them, not both", code="invalid_body"
            )
        timeout = self._timeout(asked.get("timeout"))
        response: Response | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, request, nursery.cancel_scope)
            response = await self._invoke(slug, data, event, timeout)
            nursery.cancel_scope.cancel()
        if response is None:
            raise ApiError(CLIENT_CLOSED_REQUEST, "the client went away")
        return response

    async def _invoke(self, slug: str, data: object, event: object, timeout: float) -> Response:
        try:
            result = await self._runner.invoke(slug, data=data, event=event, timeout=timeout)
        except InvalidEvent as error:
            return error_response(400, str(error), code="invalid_event")
        except FunctionNotFound as error:
            return error_response(
                404, str(error), code="function_not_found", suggestions=list(error.suggestions)
            )
        except RunTimeout as error:
            return error_response(504, str(error), code="timeout", run_id=error.run_id)
        except SyscodeError as error:
            return _not_executed(error)
        except StoreUnavailable as error:
            return store_unavailable(error)
        return json_response(result.as_json())

    async def publish(self, request: Request) -> Response:
        """Take one event or a list of them."""
        self._admit_sender(request)
        value = await self._json(request)
        listed = value if isinstance(value, list) else [value]
        try:
            events = [
                Event.from_json(
                    item, now=self._now(), path=f"event {at}" if value is listed else "event"
                )
                for at, item in enumerate(listed, 1)
            ]
            await self._triggered.publish(events)
        except InvalidEvent as error:
            raise ApiError(400, str(error), code="invalid_event") from error
        except ExecutorClosing as error:
            return _not_executed(error)
        except TooManyRuns as error:
            raise ApiError(503, str(error), code="too_many_runs") from error
        return json_response({"ids": [event.id for event in events], "status": 200})

    def _admit_sender(self, request: Request) -> None:
        if not self._event_keys:
            self._access.presented(request)
            return
        presented = str(request.path_params["key"]).encode()
        # Every key is compared: the time taken says nothing of which one is like it.
        matching = [hmac.compare_digest(presented, key) for key in self._event_keys]
        if not any(matching):
            raise ApiError(401, "the event key is not known", code=Syscode.AUTHENTICATION_FAILED)

    async def _json(self, request: Request) -> Any:
        body = await read_body(request, self._settings.limits.invoke_body_bytes)
        try:
            return jsontext.load(body)
        except ValueError as error:
            raise ApiError(400, f"the body is not JSON: {error}", code="invalid_body") from error

    def _timeout(self, value: object) -> float:
        longest = self._settings.timing.longest_function
        seconds: float
        match value:
            case None:
                return min(_DEFAULT_TIMEOUT, longest)
            case str():
                try:
                    seconds = parse_duration(value)
                except ValueError as error:
                    raise _bad_timeout(str(error)) from error
            case int() | float() if not isinstance(value, bool):
                seconds = value
            case _:
                raise _bad_timeout("expected seconds or a duration such as '30s'")
        if not 0 < seconds <= longest:
            raise _bad_timeout(f"must be more than 0 and at most {longest:g} seconds")
        return seconds


def _not_executed(error: SyscodeError) -> Response:
    status = _STATUS_OF.get(error.code, 500)
    headers = {}
    if status == 429 or isinstance(error, TryLater):
        seconds = error.retry_after if isinstance(error, TryLater) else _CAPACITY_AFTER
        headers["Retry-After"] = str(math.ceil(seconds))
    return error_response(status, error.message, code=error.code, headers=headers)


def _bad_timeout(reason: str) -> ApiError:
    return ApiError(400, f"timeout: {reason}", code="invalid_timeout")


async def _cancel_when_gone(request: Request, scope: trio.CancelScope) -> None:
    """Cancel the scope when the client disconnects; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
