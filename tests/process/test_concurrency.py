"""Real concurrency: more callers than capacity, two executors, nothing run twice or too much.

``CONNECT_TEST_REQUESTS`` sets the number of requests.
"""

import json
import os
import random
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
import trio

from connect.errors import Syscode, SyscodeError
from connect.harness import start_process, start_service
from connect.protocol.messages.connect import v1 as pb
from connect.rpc import Executor, open_executor
from connect.settings import DEVELOPMENT_ACCOUNT_ID, DEVELOPMENT_ENV_ID
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.process

PROGRAM = "tests.process.programs.limited_workers"
REQUESTS = int(os.environ.get("CONNECT_TEST_REQUESTS", "20000"))
CALLERS = 64
WORKERS = 8
CAPACITY = 3
SLUG = "limited-echo"
ENV_KEYS = f"{{{DEVELOPMENT_ENV_ID}}}:"


@dataclass(slots=True)
class Answers:
    """What the callers got.

    Attributes:
        own: how often each request was answered with its own payload.
        others: replies that were something else.
        refusals: how often all workers were at capacity.
    """

    own: Counter[str] = field(default_factory=Counter)
    others: list[str] = field(default_factory=list)
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Remains:
    """What Redis still held.

    Attributes:
        kept: keys of requests when all callers had their answers.
        lasting: keys without a lifetime when the workers were gone, too.
    """

    kept: list[str]
    lasting: list[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the callers got, what Redis still held, and what the workers counted."""

    answers: Answers
    remains: Remains
    most: dict[str, int]
    ran: dict[str, int]


def request(request_id: str) -> pb.GatewayExecutorRequestData:
    happened: dict[str, Any] = {
        "id": request_id, "name": "test/limited", "data": {"request": request_id},
        "user": {}, "ts": 1,
    }  # fmt: skip
    call = {
        "event": happened, "events": [happened], "steps": {}, "version": -1, "use_api": False,
        "ctx": {"fn_id": SLUG, "run_id": request_id, "env": "", "step_id": "step", "attempt": 0},
    }  # fmt: skip
    return pb.GatewayExecutorRequestData(
        request_id=request_id,
        account_id=DEVELOPMENT_ACCOUNT_ID,
        env_id=DEVELOPMENT_ENV_ID,
        app_id=str(uuid.uuid5(uuid.UUID(DEVELOPMENT_ENV_ID), "limited")),
        app_name="limited",
        function_id=SLUG,
        function_slug=SLUG,
        request_payload=json.dumps(call).encode(),
        run_id=request_id,
    )


async def call(executor: Executor, numbers: "count[int]", answers: Answers) -> None:
    """Execute request after request, each until there is capacity for it."""
    while (number := next(numbers)) < REQUESTS:
        request_id = f"{number:026}"
        asked = request(request_id)
        pause = 0.002
        while True:
            try:
                response = await executor.execute(asked)
                break
            except SyscodeError as error:
                if error.code != Syscode.ALL_WORKERS_AT_CAPACITY:
                    raise
            answers.refusals += 1
            await trio.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, 0.05)
        done = response.status == pb.SdkResponseStatus.DONE
        if done and json.loads(response.body) == {"request": request_id}:
            answers.own[request_id] += 1
        else:
            answers.others.append(f"{request_id}: {response}")


def requests_kept(client: redis.Redis) -> list[str]:
    """Return the keys of requests, and of workers that have any."""
    kinds = ("request-lease", "request-worker", "buffered-response", "worker-requests-set")
    keys = [key.decode() for key in client.scan_iter(count=1000)]
    return [key for key in keys if key.startswith(tuple(f"{ENV_KEYS}{kind}:" for kind in kinds))]


def lasting_keys(client: redis.Redis) -> list[str]:
    """Return the keys that are no registry's or gateway's and never expire."""
    keys = list(client.scan_iter(count=1000))
    asked = client.pipeline(transaction=False)
    for key in keys:
        asked.ttl(key)
    names = [key.decode() for key, ttl in zip(keys, asked.execute(), strict=True) if ttl == -1]
    return [name for name in names if not name.startswith((f"{ENV_KEYS}registry:", "{connect}:"))]


async def last_of(look: Callable[[redis.Redis], list[str]], client: redis.Redis) -> list[str]:
    """Look until nothing is there, for ten seconds at most: cleaning up may take a moment."""
    deadline = trio.current_time() + 10
    while found := await trio.to_thread.run_sync(look, client):
        if trio.current_time() > deadline:
            break
        await trio.sleep(0.1)
    return found


async def run_all(summary: Path) -> tuple[Answers, Remains]:
    """Run all requests on processes of their own; the workers leave their summary."""
    answers = Answers()
    with redis_server() as server, redis.Redis.from_url(server.url) as client:
        async with (
            start_service("--roles=gateway,api", f"--redis-url={server.url}",
                          "--session-secret=test", "--log-level=warning") as service,
            start_process([sys.executable, "-m", PROGRAM, service.addresses["api"], str(WORKERS),
                           str(CAPACITY), str(summary)]) as workers,
            open_executor(server.url, host="127.0.0.1") as first,
            open_executor(server.url, host="127.0.0.1") as second,
        ):  # fmt: skip
            await workers.wait_for_output("all workers are connected")
            numbers = count()
            async with trio.open_nursery() as nursery:
                for caller in range(CALLERS):
                    nursery.start_soon(call, (first, second)[caller % 2], numbers, answers)
            kept = await last_of(requests_kept, client)
            assert await workers.stop() == 0, workers.output
            lasting = await last_of(lasting_keys, client)
    return answers, Remains(kept, lasting)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """All requests, run once for every test that looks at what came of them."""
    summary = tmp_path_factory.mktemp("concurrency") / "summary.json"
    answers, remains = trio.run(run_all, summary)
    told = json.loads(summary.read_text())
    return Outcome(answers, remains, told["most"], told["ran"])


def test_every_request_is_answered_once_with_its_own_payload(outcome: Outcome) -> None:
    assert outcome.answers.others == []
    assert outcome.answers.own == {f"{number:026}": 1 for number in range(REQUESTS)}


def test_every_request_is_run_once(outcome: Outcome) -> None:
    assert outcome.ran == {f"{number:026}": 1 for number in range(REQUESTS)}


def test_no_worker_ever_has_more_requests_than_its_capacity(outcome: Outcome) -> None:
    assert len(outcome.most) == WORKERS
    assert max(outcome.most.values()) <= CAPACITY


def test_callers_do_compete_for_capacity(outcome: Outcome) -> None:
    """Else the test above says nothing."""
    assert outcome.answers.refusals > 0
    assert max(outcome.most.values()) == CAPACITY


def test_no_request_is_counted_or_kept_once_all_are_answered(outcome: Outcome) -> None:
    assert outcome.remains.kept == []


def test_workers_leave_nothing_in_redis_that_stays(outcome: Outcome) -> None:
    assert outcome.remains.lasting == []
