"""Deadlines of one connection: the handshake's, then the heartbeats'."""

import trio

from connect.nursery.connection import Connection

__all__ = ["watch"]

# Waking so many seconds late means that this process was stopped, or had far too much to do.
STOOD_STILL = 1.0


async def watch(connection: Connection) -> None:
    """End the connection when its worker is too slow or too silent; wake only then.

    WORKER_CONNECT has to come within `Timing.handshake`, and the worker has to be joined
    within `Timing.join` after that; from then on, more than `Timing.heartbeat_misses`
    intervals without a heartbeat are too many (Connect protocol, sections 3 and 4). Time in
    which reading paused, as the store was slow, is not the worker's and does not count. After
    a time in which this process stood still, heartbeats that came meanwhile are read first:
    the worker is judged an interval later.

    The other deadlines stand where they may pass: that of writes in `pump`, that of
    taking up what the worker sent in `reader`.
    """
    timing = connection.services.settings.timing
    with trio.move_on_after(timing.handshake):
        await connection.hello_received.wait()
    connection.apply(connection.machine.handshake_timed_out())
    with trio.move_on_after(timing.join):
        await connection.opened.wait()
    connection.apply(connection.machine.join_timed_out())

    slots = connection.store_slots
    while True:
        if slots.pausing:
            await slots.wait_release()
            continue
        # A heartbeat moves the deadline; one wake-up per silence is enough to see it. A reload
        # may move it, too: a shorter silence counts from the next wake-up on.
        silence = timing.heartbeat_misses * timing.worker_heartbeat
        deadline = connection.last_heartbeat + silence + slots.paused
        if trio.current_time() > deadline:
            connection.apply(connection.machine.heartbeats_missed())
            return
        # Just past the deadline: "more than" five intervals, not five.
        waking = deadline + 0.001
        await trio.sleep_until(waking)
        if trio.current_time() > waking + STOOD_STILL:
            await trio.sleep(timing.worker_heartbeat)
