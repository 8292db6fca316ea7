"""The one reader of a connection's socket: messages in, effects performed."""

import json

import trio
import trio_websocket

from connect.config.functions import FunctionConfigError
from connect.errors import (
    ConnectError,
    LimitReached,
    RegistrationUnavailable,
    StoreUnavailable,
    Syscode,
    SyscodeError,
)
from connect.nursery.connection import Connection
from connect.nursery.handshake import connection_ready, join, publish
from connect.nursery.health import StoreAway
from connect.nursery.registration import SyncRefused
from connect.nursery.replies import ReplyKeeper
from connect.nursery.table import ConnectionTable
from connect.nursery.work import extend_lease
from connect.protocol import machine as m
from connect.protocol.messages.connect import v1 as pb

__all__ = ["read"]

# Refusals that the user of the worker can do something about; told by SYNC_FAILED.
_TOLD = frozenset({Syscode.INVALID_FUNCTION_CONFIG, Syscode.TOO_MANY_FUNCTIONS})


async def read(connection: Connection, table: ConnectionTable, keeper: ReplyKeeper) -> None:
    """Read messages until the connection ends, one at a time.

    Control messages take effect at once. Storing replies and extending leases happens in
    tasks of their own, so that a slow store delays no heartbeat; when
    `Limits.store_tasks_per_connection` of them are busy, reading pauses, and after
    `Timing.reader_stuck` without any of them finishing the connection ends. As long as some
    finish, the store is slow and the reader not stuck, however long it waits for room: what
    the worker sends meanwhile cannot be heard, and `watch` does not count that as silence.

    Args:
        table: where the connection is entered once its worker has joined.
        keeper: takes the worker's replies.
    """
    while not connection.ending:
        # Nothing here holds a message while the next one is awaited.
        for effect in await _receive(connection):
            await _perform(connection, table, keeper, effect)
            del effect


async def _receive(connection: Connection) -> m.Effects:
    """Wait for the next message; return what it means, nothing once the socket is closed."""
    try:
        data = await connection.socket.get_message()
    except trio_websocket.ConnectionClosed as closed:
        reason = closed.reason
        connection.end(
            connection.machine.socket_closed(
                reason.code if reason else None, reason.reason if reason else None
            )
        )
        return ()
    if isinstance(data, bytes):
        return connection.machine.receive(data)
    return connection.machine.not_a_message()


async def _perform(
    connection: Connection, table: ConnectionTable, keeper: ReplyKeeper, effect: m.Effect
) -> None:
    if not isinstance(effect, m.PhaseChanged):
        connection.services.metrics.messages.labels(type(effect).__name__).inc()
    match effect:
        case m.ReplyReceived():
            if await _store_slot(connection, len(effect.response)):
                connection.background.start_soon(keeper.keep, connection, effect)
        case m.ExtendLease(fields):
            if await _store_slot(connection, fields.size):
                connection.background.start_soon(extend_lease, connection, effect)
        case m.Join(hello):
            await _join(connection, table, hello)
        case m.HeartbeatReceived():
            connection.store_slots.forget_pauses()
            connection.apply((effect,))
        case _:
            connection.apply((effect,))


async def _store_slot(connection: Connection, size: int) -> bool:
    """Take one of the connection's store slots; False, and its end, if none gets free.

    This is where a reader can get stuck: the worker sends faster than the store takes it.
    """
    slots = connection.store_slots
    if slots.full and not await slots.wait_room(connection.services.settings.timing.reader_stuck):
        connection.apply(connection.machine.reader_stuck())
        return False
    slots.take(size)
    return True


async def _join(
    connection: Connection, table: ConnectionTable, hello: pb.WorkerConnectRequestData
) -> None:
    services = connection.services
    machine = connection.machine
    connection.hello_received.set()
    connection.id = hello.connection_id
    connection.log = connection.log.bind(
        connection_id=hello.connection_id, instance_id=hello.instance_id
    )
    started = trio.current_time()
    try:
        # First: nobody without a token ends who has this id.
        session = services.tokens.verify(hello.auth_data.session_token)
        await table.claim(connection)
        joined = connection.joined = await join(services, hello, session, connection.place)
        # Known here before executors can find it in the store.
        table.enter(connection)
        await publish(services, joined)
    except FunctionConfigError as error:
        code = Syscode.INVALID_FUNCTION_CONFIG
        connection.log.warning("worker refused", code=code, reason=str(error))
        tell = pb.SystemError(code=code, message=str(error))
        connection.apply(machine.join_refused(code, tell=tell))
    except LimitReached as error:
        # The hint travels before the close frame, whose reason has to be the syscode alone.
        data = json.dumps({"retry_after": round(error.retry_after, 3)}).encode()
        tell = pb.SystemError(code=error.code, message=error.message, data=data)
        connection.apply(machine.limit_reached(error.code, tell=tell))
    except SyscodeError as error:
        connection.log.warning("worker refused", code=error.code, reason=error.message)
        tell = None
        if isinstance(error, SyncRefused) or error.code in _TOLD:
            tell = pb.SystemError(code=error.code, message=error.message)
        connection.apply(machine.join_refused(error.code, tell=tell))
    except StoreUnavailable as error:
        if not isinstance(error, StoreAway):
            services.metrics.store_failures.labels("handshake").inc()
        services.warn_unstored(connection.log, "handshake failed: the store does not answer", error)
        connection.apply(machine.join_failed(m.DisconnectReason.STORE_UNAVAILABLE))
    except RegistrationUnavailable as error:
        connection.log.error("handshake failed: no registration", error=str(error))
        connection.apply(machine.join_failed(m.DisconnectReason.REGISTRATION_UNAVAILABLE))
    except ConnectError as error:
        connection.log.error("handshake failed", error=str(error))
        connection.apply(machine.join_failed(m.DisconnectReason.INTERNAL_ERROR))
    else:
        connection.last_heartbeat = trio.current_time()
        connection.apply(machine.joined(connection_ready(services)))
        connection.opened.set()
        if connection.stream is not None:
            connection.stream.joined = True
        connection.place.join()
        services.metrics.handshake_seconds.observe(trio.current_time() - started)
        connection.log.info(
            "worker connected", apps=sorted(joined.connection.groups), sdk=hello.sdk_language
        )
