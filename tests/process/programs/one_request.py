"""An executor of its own that executes one request, by the library.

Usage: python -m tests.process.programs.one_request REDIS_URL REQUEST_ID SECONDS [warm]

The function is ``test-slow``, which takes so many seconds. With ``warm`` another request goes
first, so that there is a stream to the gateway. Prints "ready", then one line of JSON:
``body`` of the reply, and the ``seconds`` that it took.
"""

import json
import sys
import uuid
from typing import Any

import trio

from connect.logs import configure_logging
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import open_executor
from connect.settings import DEVELOPMENT_ACCOUNT_ID, DEVELOPMENT_ENV_ID

SLUG = "test-slow"


def request(request_id: str, seconds: float) -> pb.GatewayExecutorRequestData:
    happened: dict[str, Any] = {
        "id": request_id, "name": "test/slow", "data": {"seconds": seconds}, "user": {}, "ts": 1,
    }  # fmt: skip
    call = {
        "event": happened, "events": [happened], "steps": {}, "version": -1, "use_api": False,
        "ctx": {"fn_id": SLUG, "run_id": request_id, "env": "", "step_id": "step", "attempt": 0},
    }  # fmt: skip
    return pb.GatewayExecutorRequestData(
        request_id=request_id,
        account_id=DEVELOPMENT_ACCOUNT_ID,
        env_id=DEVELOPMENT_ENV_ID,
        app_id=str(uuid.uuid5(uuid.UUID(DEVELOPMENT_ENV_ID), "test")),
        app_name="test",
        function_id=SLUG,
        function_slug=SLUG,
        request_payload=json.dumps(call).encode(),
        run_id=request_id,
    )


async def main(redis_url: str, request_id: str, seconds: float, *, warm: bool) -> None:
    async with open_executor(redis_url, host="127.0.0.1") as executor:
        if warm:
            await executor.execute(request(f"{request_id}-warm", 0.5))
        print("ready", flush=True)
        started = trio.current_time()
        response = await executor.execute(request(request_id, seconds))
        took = trio.current_time() - started
    print(json.dumps({"body": json.loads(response.body), "seconds": took}), flush=True)


if __name__ == "__main__":
    configure_logging(level="warning")
    trio.run(
        lambda: main(sys.argv[1], sys.argv[2], float(sys.argv[3]), warm="warm" in sys.argv[4:])
    )
