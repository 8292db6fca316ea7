"""What tests of draining gateways share."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from connect.errors import ForwardInDoubt
from connect.nursery.connection import Connection
from connect.state.records import ConnectionStatus, GatewayRecord, GatewayStatus
from tests.nursery.rig import ENV, Peer, Rig, now, request_bytes


async def another_gateway(rig: Rig, *, until: float = float("inf")) -> None:
    """Keep the record of another gateway fresh."""
    while trio.current_time() < until:
        await rig.store.gateways.upsert(
            GatewayRecord(
                id="another",
                status=GatewayStatus.ACTIVE,
                last_heartbeat_ms=round(now() * 1000),
                hostname="other",
                ip="10.0.0.2",
            )
        )
        await trio.sleep(5)


def connection_of(rig: Rig, worker: Peer) -> Connection:
    connection = rig.gateway.table.get(worker.connection_id)
    assert connection is not None
    return connection


async def stored_status(rig: Rig, worker: Peer) -> ConnectionStatus | None:
    record = await rig.store.connections.get(ENV, worker.connection_id)
    return None if record is None else record.status


def forwarding(
    rig: Rig, worker: Peer, request_id: str, results: list[Any]
) -> Callable[[], Awaitable[None]]:
    """Return what forwards a request, and notes whether it was acked, or that this is in doubt."""

    async def forward() -> None:
        request = request_bytes(request_id)
        try:
            results.append(await rig.gateway.forward(worker.connection_id, request_id, request))
        except ForwardInDoubt:
            results.append(ForwardInDoubt)

    return forward


async def start_request(rig: Rig, worker: Peer, request_id: str) -> None:
    """Have a request forwarded and acked."""
    results: list[bool] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forwarding(rig, worker, request_id, results))
        await worker.take_request()
        await worker.ack(request_id)
    assert results == [True]
