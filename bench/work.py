"""The one function that is called, and the requests that call it."""

import json
from itertools import count

import trio

from connect.protocol.messages.connect import v1 as pb
from connect.settings import DEVELOPMENT_ACCOUNT_ID, DEVELOPMENT_ENV_ID
from connect.worker import App, Context, event

__all__ = ["APP_NAME", "BODY_BYTES", "Requests", "SLUG", "bench_app", "request_payload"]

APP_NAME = "bench"
SLUG = f"{APP_NAME}-echo"
EVENT = "bench/echo"
BODY_BYTES = 512

# As long as a ULID, so that ids can be put into a request without writing it anew.
_ID_DIGITS = 26


def bench_app() -> App:
    """Make an app whose function has a result of `BODY_BYTES` of JSON.

    It returns at once, unless its request says for how many seconds it is to run.
    """
    app = App(APP_NAME)
    result = "x" * (BODY_BYTES - len('""'))

    @app.function("echo", triggers=[event(EVENT)])
    async def echo(ctx: Context) -> str:
        if seconds := ctx.event.data.get("seconds"):
            await trio.sleep(seconds)
        return result

    return app


def request_payload(size: int, *, seconds: float = 0.0) -> bytes:
    """Make the JSON of one call (functions.md, "Running a function to its end").

    Args:
        size: bytes that it is padded to.
        seconds: that the function is to run for; at once when 0.
    """

    def written(padding: str) -> bytes:
        data = {"pad": padding} | ({"seconds": seconds} if seconds else {})
        happened = {"id": "1", "name": EVENT, "data": data, "user": {}, "ts": 0}
        ctx = {"fn_id": SLUG, "run_id": "1", "env": "", "step_id": "step", "attempt": 0}
        call = {"event": happened, "events": [], "steps": {}, "ctx": ctx, "version": -1}
        return json.dumps(call).encode()

    return written("x" * (size - len(written(""))))


class Requests:
    """Serialized requests, each with an id of its own, at next to no cost.

    Args:
        app_id: of the app that serves them.
        payload: what they carry.
        first: the number that is the first one's id.
    """

    def __init__(self, app_id: str, payload: bytes, *, first: int = 1) -> None:
        self._numbers = count(first)
        self._placeholder = b"#" * _ID_DIGITS
        self._template = bytes(
            pb.GatewayExecutorRequestData(
                request_id=self._placeholder.decode(),
                account_id=DEVELOPMENT_ACCOUNT_ID,
                env_id=DEVELOPMENT_ENV_ID,
                app_id=app_id,
                app_name=APP_NAME,
                function_id=SLUG,
                function_slug=SLUG,
                request_payload=payload,
                run_id="0" * _ID_DIGITS,
            )
        )

    def next(self) -> bytes:
        """Return the next request."""
        number = b"%026d" % next(self._numbers)
        return self._template.replace(self._placeholder, number, 1)
