"""What the maintenance API shows of reloads."""

from typing import Any

import httpx
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from trio.testing import MockClock

from connect.api import create_admin
from connect.config.defined import DefinedFunctions
from connect.errors import ConfigurationError
from connect.metrics import Metrics
from connect.reloading import Given, Reloadable
from connect.settings import Limits, Settings


async def nothing() -> Any:
    return []


def reloadable() -> Reloadable:
    return Reloadable(
        Settings(),
        DefinedFunctions(),
        swap_keys=lambda settings: None,
        metrics=Metrics(),
        log=structlog.get_logger(),
        now=lambda: 1_700_000_000.25,
    )


async def shown(reloads: Reloadable | None) -> Any:
    app = create_admin(
        settings=Settings(),
        ping=nothing,
        registry=CollectorRegistry(),
        gateway=None,
        gateways=nothing,
        reloads=reloads,
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        return (await client.get("/reload")).json()


async def test_before_the_first_reload_there_is_none(mock_clock: MockClock) -> None:
    assert await shown(reloadable()) == {"functions": 0, "last": None}


async def test_without_anything_to_reload_there_is_none(mock_clock: MockClock) -> None:
    assert await shown(None) == {"functions": 0, "last": None}


async def test_what_a_reload_changed_is_shown_with_its_time() -> None:
    reloads = reloadable()
    new = Given(Settings(limits=Limits(run_calls=5)), DefinedFunctions())
    with capture_logs():
        await reloads.reload(lambda: new)
    assert await shown(reloads) == {
        "functions": 0,
        "last": {
            "at": "2023-11-14T22:13:20.250Z",
            "result": "applied",
            "faults": [],
            "settings": {"changed": ["limits.run_calls"], "need_restart": []},
            "functions": {"added": [], "changed": [], "removed": []},
        },
    }


async def test_why_a_reload_was_refused_is_shown() -> None:
    reloads = reloadable()

    def read() -> Given:
        raise ConfigurationError("no")

    with capture_logs():
        await reloads.reload(read)
    last = (await shown(reloads))["last"]
    assert (last["result"], last["faults"]) == ("refused", ["no"])
