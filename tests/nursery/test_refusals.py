"""The state store refuses commands, which is no outage: it answers, but does not do them."""

from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket
from trio.testing import MockClock

from connect.errors import Syscode
from connect.nursery.connection import Connection
from connect.protocol.lifecycle import DisconnectReason
from connect.state.commands import CommandError
from connect.state.records import ConnectionRecord, ConnectionStatus
from tests.nursery.draining import another_gateway, connection_of, stored_status
from tests.nursery.rig import ENV, Kind, open_rig, request_bytes, with_timing


async def test_a_gateway_whose_heartbeat_is_refused_goes_on_and_beats_again(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        rig.outages.refused = {"upsert", "all"}
        await trio.sleep(8)
        [before] = await rig.store.gateways.all()
        rig.outages.refused.clear()
        await trio.sleep(2)
        [after] = await rig.store.gateways.all()
        assert after.last_heartbeat_ms - before.last_heartbeat_ms > 5000
        assert worker.socket.closed is None


async def test_a_gateway_that_may_not_count_the_connections_of_others_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        rig.outages.refused = {"all"}
        await trio.sleep(20)
        assert rig.outages.calls.count("all") > 1
        assert worker.socket.closed is None


async def test_a_gateway_whose_removal_is_refused_ends(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.outages.refused = {"delete"}
        rig.nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint()
    assert rig.outages.calls[-1] == "delete"


async def test_a_status_that_is_refused_is_written_again_over_the_same_socket(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.outages.refused = {"refresh"}
        await worker.send(Kind.WORKER_PAUSE)
        await trio.sleep(2)
        rig.outages.refused.clear()
        await trio.sleep(6)
        assert await stored_status(rig, worker) is ConnectionStatus.DRAINING
        assert worker.socket.closed is None


@pytest.mark.parametrize("refused", ["refresh", "delete"])
async def test_a_connection_that_may_not_be_removed_is_forgotten_by_its_gateway(
    autojump_clock: MockClock, refused: str
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        connection = connection_of(rig, worker)
        rig.outages.refused = {refused}
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        await connection.finished.wait()
        [closed] = rig.gateway.closed_connections()
        assert closed.disconnect.reason is DisconnectReason.WORKER_SHUTDOWN
        assert rig.gateway.admission.places == 0
        with trio.fail_after(10):
            await rig.gateway.drain()


async def test_a_connection_whose_cleanup_fails_unforeseen_keeps_no_drain_waiting(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig() as rig:
        failures: list[BaseException] = []
        serve = rig.gateway.serve_socket

        async def serve_and_note(
            socket: trio_websocket.WebSocketConnection, *_: object, **__: object
        ) -> None:
            try:
                await serve(socket)
            except* ZeroDivisionError as group:  # the listener catches everything
                failures.append(group)

        async def fail(connection: Connection) -> None:
            raise ZeroDivisionError

        rig.gateway.serve_socket = serve_and_note  # type: ignore[method-assign] # see there
        worker = await rig.worker()
        monkeypatch.setattr("connect.nursery.closing._clean_state", fail)
        await worker.socket.aclose(1000, "WORKER_SHUTDOWN")
        with trio.fail_after(10):
            await rig.gateway.drain()
        assert len(failures) == len(rig.gateway.history) == 1
        assert rig.gateway.admission.places == 0


async def test_a_drain_ends_at_its_hard_deadline_whatever_is_left(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig(with_timing(drain=5, cleanup=2)) as rig:
        await rig.worker()

        async def hang(*_: object) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr("connect.nursery.gateway.clean_up", hang)
        started = trio.current_time()
        await rig.gateway.drain()
        assert trio.current_time() - started == pytest.approx(5 + 3 * 2, abs=0.1)


async def test_a_handover_that_is_refused_keeps_no_forward_waiting(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        rig.nursery.start_soon(another_gateway, rig)
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        rig.outages.refused = {"refresh"}
        rig.gateway.start_drain()
        await trio.sleep(1)
        assert not await rig.gateway.forward(worker.connection_id, "r1", request_bytes("r1"))
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        assert await worker.closed() == (1001, Syscode.GATEWAY_CLOSING)


async def test_a_task_of_a_connection_that_fails_unforeseen_ends_it_with_1011(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(connection: Connection, record: ConnectionRecord) -> None:
        raise ZeroDivisionError

    async with open_rig() as rig:
        worker = await rig.worker()
        monkeypatch.setattr(Connection, "_write_status", fail)  # our fault
        await worker.heartbeat()
        assert await worker.closed() == (1011, Syscode.INTERNAL_ERROR)
        await trio.sleep(1)
        [closed] = rig.gateway.closed_connections()
        assert closed.disconnect.reason is DisconnectReason.INTERNAL_ERROR


async def test_a_reply_that_is_refused_is_saved_and_acknowledged_later(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        rig.nursery.start_soon(worker.keep_alive)
        await rig.lease("r1")
        rig.outages.refused = {"save"}
        await worker.reply("r1")
        await trio.sleep(8)
        rig.outages.refused.clear()
        await worker.expect(Kind.WORKER_REPLY_ACK)
        assert await rig.store.responses.get(ENV, "r1") is not None


async def test_a_reply_that_is_refused_for_good_holds_up_no_other_and_is_given_up(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        worker = await rig.worker()
        await rig.lease("r1", "r2")
        responses = rig.services.store.responses
        save = responses.save

        async def refuse_one(env_id: str, request_id: str, *args: Any, **options: Any) -> object:
            if request_id == "r1":
                raise CommandError("WRONGTYPE")
            return await save(env_id, request_id, *args, **options)

        responses.save = refuse_one  # type: ignore[method-assign,assignment] # one bad key
        rig.outages.refused = {"save"}
        await worker.reply("r1")
        await worker.reply("r2")
        await trio.sleep(3)
        rig.outages.refused.clear()
        await trio.sleep(3)
        assert await rig.store.responses.get(ENV, "r2") is not None
        assert rig.gateway.describe()["replies_kept"] == 1
        rig.nursery.start_soon(worker.keep_alive)
        await trio.sleep(60)
        assert rig.gateway.describe()["replies_kept"] == 0
        assert rig.services.metrics.replies.labels("not_saved")._value.get() == 1
