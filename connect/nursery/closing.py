"""The end of a connection: last words, close frame, late replies, and what the store held."""

from dataclasses import replace

import trio
import trio_websocket

from connect.errors import ConnectError
from connect.nursery.connection import Connection
from connect.nursery.replies import ReplyKeeper
from connect.protocol import machine as m
from connect.state.records import ConnectionStatus

__all__ = ["clean_up"]


async def clean_up(connection: Connection, keeper: ReplyKeeper) -> bool:
    """Say the last words, close the socket, remove the connection from the store.

    Shielded, with a deadline; called once the connection's tasks are gone.

    Args:
        keeper: takes the replies that still come before the worker closes its side, too.

    Returns:
        Whether nothing of the connection is in the store any more.
    """
    connection.end(m.Disconnect(m.DisconnectReason.GATEWAY_STOPPED))
    assert connection.disconnect is not None
    removed = False
    try:
        with trio.move_on_after(connection.services.settings.timing.cleanup, shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_close_socket, connection, connection.disconnect, keeper)
                removed = await _clean_state(connection)
    finally:
        # Whatever went wrong: others wait for this connection's end.
        connection.finish()
    return removed


async def _close_socket(
    connection: Connection, disconnect: m.Disconnect, keeper: ReplyKeeper
) -> None:
    gone = connection.outbox.cut or connection.socket.closed is not None
    if gone or disconnect.code is None or disconnect.by is not m.Side.GATEWAY:
        return
    with trio.move_on_after(connection.services.settings.timing.write):
        async with trio.open_nursery() as nursery:
            if connection.joined is not None:
                nursery.start_soon(_take_late_replies, connection, keeper, _received(connection))
            try:
                for message in connection.outbox.take_control():
                    await connection.socket.send_message(message)
            except trio_websocket.ConnectionClosed:
                return
            await connection.socket.aclose(disconnect.code, disconnect.detail)


def _received(connection: Connection) -> trio.MemoryReceiveChannel[str | bytes]:
    """Return a second end of the channel in which the library puts the messages received.

    Its own end is closed with its close frame, and what comes after that it would drop.
    """
    received: trio.MemoryReceiveChannel[str | bytes] = connection.socket._recv_channel
    return received.clone()


async def _take_late_replies(
    connection: Connection,
    keeper: ReplyKeeper,
    received: trio.MemoryReceiveChannel[str | bytes],
) -> None:
    """Have replies kept that come before the worker's close frame (section 4).

    They cannot be acknowledged any more: the worker sends them again by another way, for
    which they are stored by then. When the store does not keep up, that is left to the worker.
    """
    slots = connection.store_slots
    async with received:
        async for message in received:
            if isinstance(message, str):
                continue
            for effect in connection.machine.receive(message):
                assert isinstance(effect, m.ReplyReceived)  # it takes nothing else in this phase
                if slots.full:
                    return
                slots.take(len(effect.response))
                connection.background.start_soon(keeper.keep, connection, effect)


async def _clean_state(connection: Connection) -> bool:
    """Store DISCONNECTING, release the Forwards, remove the connection; say if that is done."""
    joined = connection.joined
    if joined is None:
        return True
    services = connection.services
    connections = services.store.connections
    gone = replace(connection.record(), status=ConnectionStatus.DISCONNECTING)
    try:
        try:
            await connections.refresh(joined.env_id, gone)
        except ConnectError as error:
            services.metrics.store_failures.labels("disconnect").inc()
            connection.log.info("DISCONNECTING not stored", error=str(error))
        finally:
            # Not before: a re-route must not come back here (section 4).
            connection.release_forwards()
        await connections.delete(joined.env_id, gone.id)
    except ConnectError as error:
        services.metrics.store_failures.labels("disconnect").inc()
        services.warn_unstored(connection.log, "connection not removed from the store yet", error)
        return False
    return True
