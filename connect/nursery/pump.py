"""The one writer of a connection's socket."""

import trio_websocket

from connect.nursery.connection import Connection

__all__ = ["pump"]


async def pump(connection: Connection) -> None:
    """Write what the outbox holds, control before data, until the connection ends.

    A write in progress is never cut in two by a cancellation: it is shielded, with the
    write deadline. A worker that does not take a message by then is disconnected without
    a close frame, for which there is no room on the wire any more. What still waits when the
    connection ends is not written here: `clean_up` sends the control messages among it.
    """
    while True:
        message = await connection.outbox.get()
        with connection.outbox.write_begins() as scope:
            try:
                await connection.socket.send_message(message)
            except trio_websocket.ConnectionClosed as closed:
                reason = closed.reason
                connection.end(
                    connection.machine.socket_closed(
                        reason.code if reason else None, reason.reason if reason else None
                    )
                )
                return
        if scope.cancelled_caught:
            connection.outbox.write_cut()
            connection.write_stalled()
            return
        connection.outbox.write_ended()
        del message  # not held while the next one is awaited
