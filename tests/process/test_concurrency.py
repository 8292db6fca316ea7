"""Real concurrency: more callers than capacity, two executors, nothing run twice or too much.

``CONNECT_TEST_REQUESTS`` sets the number of requests.
"""

import json
import os
import random
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
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
class Outcome:
    """What the callers got, and what the workers counted."""

    answers: Answers
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


async def run_all(summary: Path) -> Answers:
    """Run all requests on processes of their own; the workers leave their summary."""
    answers = Answers()
    with redis_server() as redis:
        async with (
            start_service("--roles=gateway,api", f"--redis-url={redis.url}",
                          "--session-secret=test", "--log-level=warning") as service,
            start_process([sys.executable, "-m", PROGRAM, service.addresses["api"], str(WORKERS),
                           str(CAPACITY), str(summary)]) as workers,
            open_executor(redis.url, host="127.0.0.1") as first,
            open_executor(redis.url, host="127.0.0.1") as second,
        ):  # fmt: skip
            await workers.wait_for_output("all workers are connected")
            numbers = count()
            async with trio.open_nursery() as nursery:
                for caller in range(CALLERS):
                    nursery.start_soon(call, (first, second)[caller % 2], numbers, answers)
            assert await workers.stop() == 0, workers.output
    return answers


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """All requests, run once for every test that looks at what came of them."""
    summary = tmp_path_factory.mktemp("concurrency") / "summary.json"
    answers = trio.run(run_all, summary)
    counted = json.loads(summary.read_text())
    return Outcome(answers, counted["most"], counted["ran"])


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
