"""Child process: an executor, asked by JSON lines on stdin, that answers on stdout.

Usage: python -m tests.faults.executor_process ADVERTISED_HOST PORT NAME=SECONDS…

The names are those of `connect.settings.Timing`. Says ``{"ready": true}`` once it is open.
Asked ``{"ask": N, "request": {…}}``, with the fields of a GatewayExecutorRequestData, it
says ``{"ask": N, "body": …}``, or ``{"ask": N, "error": CODE}``. It ends with its stdin.
"""

import json
import os
import signal
import sys
from typing import Any

import trio

from connect.errors import ConnectError, SyscodeError
from connect.logs import configure_logging
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import Executor, open_executor
from connect.settings import Settings, Timing

__all__ = ["serve"]

_LINE_BYTES = 65536


async def serve(redis_url: str, host: str, port: int, timing: Timing) -> None:
    """Execute what is asked for until there is nobody to ask."""
    async with (
        open_executor(
            redis_url,
            settings=Settings(timing=timing),
            host="127.0.0.1",
            port=port,
            advertise_host=host,
        ) as executor,
        trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as asked,
        trio.open_nursery() as nursery,
    ):
        _say({"ready": True})
        rest = b""
        while chunk := await asked.receive_some(_LINE_BYTES):
            *lines, rest = (rest + bytes(chunk)).split(b"\n")
            for line in lines:
                nursery.start_soon(_execute, executor, json.loads(line))
        nursery.cancel_scope.cancel()


async def _execute(executor: Executor, asked: dict[str, Any]) -> None:
    fields = asked["request"] | {"request_payload": json.dumps(asked["payload"]).encode()}
    answer = {"ask": asked["ask"]}
    try:
        response = await executor.execute(pb.GatewayExecutorRequestData(**fields))
    except SyscodeError as error:
        answer |= {"error": str(error.code)}
    except ConnectError as error:
        answer |= {"error": type(error).__name__}
    else:
        answer |= {"status": response.status.name, "body": json.loads(response.body)}
    _say(answer)


def _say(said: dict[str, Any]) -> None:
    """Write a line; the parent always reads, so that this never waits for long."""
    print(json.dumps(said), flush=True)


def main(host: str, port: str, *settings: str) -> None:
    """Read the arguments and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging(level="info")
    given: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        given[name] = float(value)
    trio.run(serve, os.environ["CONNECT_REDIS_URL"], host, int(port), Timing(**given))


if __name__ == "__main__":
    main(*sys.argv[1:])
