"""``connect invoke``: run a function through a service and print what it returned."""

import json
import sys
from enum import IntEnum
from typing import Any

import click

from connect.cli.options import client_options

__all__ = ["ExitCode", "invoke"]


class ExitCode(IntEnum):
    """How ``connect invoke`` ends."""

    COMPLETED = 0
    FUNCTION_FAILED = 1
    USAGE = 2  # also: the service cannot be reached, or refuses the request
    FUNCTION_NOT_FOUND = 3
    NO_WORKER = 4
    ALL_BUSY = 5
    WORKER_DIED = 6
    TIMEOUT = 7


_BY_CODE = {
    "function_not_found": (ExitCode.FUNCTION_NOT_FOUND, "unknown function"),
    "connect_no_healthy_connection": (
        ExitCode.NO_WORKER,
        "no worker: none that serves the function is connected",
    ),
    "connect_all_workers_at_capacity": (
        ExitCode.ALL_BUSY,
        "all busy: every worker that serves the function is at its capacity",
    ),
    "connect_worker_stopped_responding": (
        ExitCode.WORKER_DIED,
        "worker died: the one that ran the function stopped responding",
    ),
    "request_too_long": (ExitCode.TIMEOUT, "timed out: the function ran for too long"),
    "timeout": (ExitCode.TIMEOUT, "timed out"),
}


class _Json(click.ParamType[Any]):
    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if value.startswith("@"):
            try:
                with open(value[1:], encoding="utf-8") as file:
                    value = file.read()
            except OSError as error:
                self.fail(f"cannot read {value[1:]}: {error.strerror}", param, ctx)
        try:
            return json.loads(value)
        except ValueError as error:
            return self.fail(f"not JSON: {error}", param, ctx)


@click.command()
@click.argument("function", metavar="FUNCTION")
@click.option("--data", type=_Json(), help="The event's data, as JSON; @FILE reads a file.")
@click.option("--event", type=_Json(), help="The whole event instead: {name, data}.")
@click.option("--timeout", default="60s", show_default=True, help="How long to wait for the end.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole run, steps included.")
@client_options
def invoke(
    function: str,
    data: Any,
    event: Any,
    timeout: str,
    as_json: bool,
    url: str,
    signing_key: str | None,
) -> int:
    """Run FUNCTION (its slug, such as my-app-hello) and print its result as JSON.

    \b
    Exit codes:
      0  completed            4  no worker connected
      1  the function failed  5  all workers busy
      2  wrong usage, or the  6  the worker died
         service is not there 7  timed out
      3  unknown function
    """
    import httpx

    from connect.protocol.durations import parse_duration

    if data is not None and event is not None:
        raise click.UsageError("give --data or --event, not both")
    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise click.UsageError(f"--timeout: {error}") from error
    body: dict[str, Any] = {"function": function, "timeout": seconds}
    if event is not None:
        body["event"] = event
    else:
        body["data"] = data if data is not None else {}
    headers = {"Authorization": f"Bearer {signing_key}"} if signing_key else {}
    try:
        response = httpx.post(
            f"{url.rstrip('/')}/v0/invoke", json=body, headers=headers, timeout=seconds + 10
        )
        answer = response.json()
    except httpx.TimeoutException:
        return _fail(ExitCode.TIMEOUT, f"timed out: no answer from {url}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _fail(ExitCode.USAGE, f"no service at {url} ({error}); is `connect serve` running?")
    except ValueError:
        return _fail(ExitCode.USAGE, f"what answers at {url} is not this service")
    if not isinstance(answer, dict):
        return _fail(ExitCode.USAGE, f"what answers at {url} is not this service")
    if as_json:
        print(json.dumps(answer, indent=2))
    if response.status_code != 200:
        return _refused(answer)
    if answer["status"] == "completed":
        if not as_json:
            print(json.dumps(answer.get("result"), indent=2))
        return ExitCode.COMPLETED
    failure = answer.get("error") or {}
    return _fail(
        ExitCode.FUNCTION_FAILED,
        f"function failed: {failure.get('name', 'Error')}: {failure.get('message', '')}",
    )


def _refused(answer: dict[str, Any]) -> int:
    exit_code, what = _BY_CODE.get(
        str(answer.get("code")), (ExitCode.USAGE, "the service refused the request")
    )
    return _fail(exit_code, f"{what} ({answer.get('error', 'no reason given')})")


def _fail(exit_code: ExitCode, message: str) -> int:
    print(f"connect invoke: {message}", file=sys.stderr)
    return exit_code
