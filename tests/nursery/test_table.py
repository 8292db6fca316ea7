"""Connection ids: one connection has one at a time, from before it joins to after its cleanup."""

import trio
import trio_websocket
from trio.testing import MockClock, wait_all_tasks_blocked

from connect.errors import Syscode
from connect.protocol.lifecycle import DisconnectReason
from connect.protocol.messages.connect import v1 as pb
from connect.state.records import ConnectionStatus
from tests.nursery.draining import stored_status
from tests.nursery.rig import ENV, Kind, Peer, Rig, open_rig, request_bytes

ID = "01JD0000000000000000000000"
REPLACED = "replaced by a newer connection"


async def knock(rig: Rig, **hello: object) -> Peer:
    """Open a WebSocket and send WORKER_CONNECT with the id; wait for nothing."""
    peer = await rig.dial()
    await peer.expect(Kind.GATEWAY_HELLO)
    peer.connection_id = ID
    await peer.send(Kind.WORKER_CONNECT, bytes(rig.hello(connection_id=ID, **hello)))
    return peer


async def answers(peers: list[Peer]) -> list[str]:
    """Return what becomes of handshakes: "ready", or the reason of the close frame."""
    found = []
    for peer in peers:
        try:
            await peer.expect(Kind.GATEWAY_CONNECTION_READY)
        except trio_websocket.ConnectionClosed:
            found.append((await peer.closed())[1])
        else:
            found.append("ready")
    return found


async def test_of_two_handshakes_with_one_id_at_the_same_time_the_later_one_joins(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.outages.delay = 0.05
        first = await knock(rig)
        second = await knock(rig)
        assert await answers([first, second]) == [REPLACED, "ready"]
        rig.nursery.start_soon(rig.gateway.forward, ID, "r1", request_bytes("r1"))
        assert (await second.take_request()).request_id == "r1"
        assert await stored_status(rig, second) is ConnectionStatus.READY


async def test_what_joined_after_another_with_its_id_leaves_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.outages.delay = 0.05
        first = await knock(rig)
        second = await knock(rig)
        await answers([first, second])
        await second.socket.aclose(1000, "WORKER_SHUTDOWN")
        await trio.sleep(20)
        assert await rig.store.connections.all(ENV) == []
        assert (len(rig.gateway.table), rig.gateway.table.has(ID)) == (0, False)


async def test_of_several_that_want_the_id_of_an_open_connection_the_last_one_has_it(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        old = await rig.worker(connection_id=ID)
        rig.outages.delay = 0.05
        peers = [await knock(rig) for _ in range(3)]
        assert await answers(peers) == [REPLACED, REPLACED, "ready"]
        assert (await old.closed())[1] == REPLACED
        reasons = [closed.disconnect.reason for closed in rig.gateway.closed_connections()]
        assert reasons == [DisconnectReason.REPLACED] * 3


async def test_the_cleanup_of_a_connection_is_over_before_its_id_is_stored_again(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        old = await rig.worker(connection_id=ID)
        rig.outages.delay = 1
        await old.socket.aclose(1000, "WORKER_SHUTDOWN")
        await wait_all_tasks_blocked()
        new = await knock(rig)
        assert await answers([new]) == ["ready"]
        assert await stored_status(rig, new) is ConnectionStatus.READY


async def test_a_refused_handshake_gives_its_id_back(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        peer = await knock(rig, auth_data=pb.AuthData(session_token="forged"))
        await peer.closed()
        await wait_all_tasks_blocked()
        assert not rig.gateway.table.has(ID)


async def test_who_has_no_token_ends_no_connection_with_its_id(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        worker = await rig.worker(connection_id=ID)
        stranger = await knock(rig, auth_data=pb.AuthData(session_token="none"))
        assert (await stranger.closed())[1] == Syscode.AUTHENTICATION_FAILED
        await worker.heartbeat()
        await worker.expect(Kind.GATEWAY_HEARTBEAT)
