"""The network between the nodes: latency, links that are blocked, slow, or cut, deaf hosts.

What is sent arrives later, in order, as over TCP. A blocked direction holds back what is
sent in it until it is open again; a cut breaks the connections there are. A sender whose
peer does not read waits once a window is full.
"""

import math
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

__all__ = ["ByteStream", "End", "Network", "Refused"]

# Arrivals fall on multiples of this (seconds), so that things happen at the same time.
_GRID = 0.001

# What a way takes, in these.
_LATENCIES = (1, 1, 1, 1, 2, 2, 3, 8)

# Bytes that a sender may be ahead of its reader.
_WINDOW = 64 * 1024

_END = object()


class Refused(OSError):
    """Nobody listens there."""


@dataclass(slots=True, eq=False)
class _Link:
    """One direction between two hosts.

    Attributes:
        blocked: by how many faults.
        delay: seconds that each message takes longer.
    """

    blocked: int = 0
    delay: float = 0.0
    opened: trio.Event = field(default_factory=trio.Event)


class End:
    """One host's end of a connection: things of any kind go in and come out in order.

    Attributes:
        watched: whether the kernel gives it up without a sign of the peer.
    """

    def __init__(self, network: "Network", host: str, peer_host: str, via: _Link) -> None:
        self.host = host
        self.peer_host = peer_host
        self.watched = False
        self.peer: End
        self._network = network
        self._via = via  # the way to this host
        self._arriving: deque[tuple[float, Any, int]] = deque()
        self._unread = 0
        self._last_arrival = 0.0
        self._broken = False
        self._closed = False
        self._changed = trio.Event()
        self._room = trio.Event()

    def put(self, item: object, size: int = 0) -> None:
        """Send something, without waiting; what the peer cannot get any more is dropped.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is broken, or
                closed on this side.
        """
        self._check()
        self.peer._take(item, size)

    async def send(self, item: object, size: int) -> None:
        """Send something; wait while the peer is a window behind. Raises as `put` does."""
        self._check()
        peer = self.peer
        while peer._unread >= _WINDOW and not peer._closed:
            peer._room = trio.Event()
            await peer._room.wait()
            self._check()
        peer._take(item, size)
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Any:
        """Wait for the next thing.

        Raises:
            trio.EndOfChannel: the peer sends no more.
            trio.BrokenResourceError, trio.ClosedResourceError: as for `put`.
        """
        while True:
            self._check()
            due = math.inf
            if self._arriving and not self._via.blocked and not self._network.is_deaf(self.host):
                due, item, size = self._arriving[0]
                if due <= trio.current_time():
                    if item is _END:
                        raise trio.EndOfChannel
                    self._arriving.popleft()
                    self._unread -= size
                    self._room.set()
                    return item
            self._changed = trio.Event()
            with trio.CancelScope(deadline=due):
                await self._changed.wait()

    def finish(self) -> None:
        """Send no more; what the peer sends can still be received."""
        self.peer._take(_END, 0)

    def close(self) -> None:
        """Close this side; the peer learns of it when it has received what was sent before."""
        if not self._closed:
            self._closed = True
            if not self._broken:
                self.peer._take(_END, 0)
            self._wake()
            self._network.closed(self)

    def fail(self) -> None:
        """Break this side at once."""
        self._broken = True
        self._wake()

    def look_again(self) -> None:
        """The link has changed."""
        self._changed.set()

    @property
    def over(self) -> bool:
        """Whether this side is done with."""
        return self._closed

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("closed here")
        if self._broken:
            raise trio.BrokenResourceError("the connection is lost")

    def _take(self, item: object, size: int) -> None:
        if self._closed or self._broken:
            return
        self._last_arrival = max(self._last_arrival, self._network.arrival(self._via.delay))
        self._arriving.append((self._last_arrival, item, size))
        self._unread += size
        self._changed.set()

    def _wake(self) -> None:
        self._changed.set()
        self._room.set()
        self.peer._room.set()


class Network:
    """Hosts are known by their names."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._links: dict[tuple[str, str], _Link] = {}
        self._listeners: dict[tuple[str, int], Callable[[End], None]] = {}
        self._ends: dict[End, None] = {}
        self._deaf: Counter[str] = Counter()

    @property
    def open_ends(self) -> int:
        """How many ends of connections are not closed."""
        return len(self._ends)

    def open_between(self) -> Counter[tuple[str, str]]:
        """Count the ends that are not closed, by pairs of hosts; each pair is sorted."""
        return Counter(
            (min(end.host, end.peer_host), max(end.host, end.peer_host)) for end in self._ends
        )

    @property
    def listening(self) -> int:
        """How many ports are listened on."""
        return len(self._listeners)

    # Connections

    def listen(self, host: str, port: int, accept: Callable[[End], None]) -> Callable[[], None]:
        """Have connections to a port accepted; returns what ends that."""
        self._listeners[host, port] = accept

        def stop() -> None:
            if self._listeners.get((host, port)) is accept:
                del self._listeners[host, port]

        return stop

    async def dial(self, host: str, peer_host: str, port: int) -> End:
        """Open a connection.

        Raises:
            Refused: nobody listens there.
        """
        await self.way(host, peer_host)
        accept = self._listeners.get((peer_host, port))
        if accept is None:
            await self.way(peer_host, host)
            raise Refused(f"{peer_host}:{port} refuses the connection")
        ours = End(self, host, peer_host, self._link(peer_host, host))
        theirs = End(self, peer_host, host, self._link(host, peer_host))
        ours.peer, theirs.peer = theirs, ours
        self._ends[ours] = self._ends[theirs] = None
        accept(theirs)
        return ours

    def closed(self, end: End) -> None:
        """Forget an end."""
        self._ends.pop(end, None)

    def arrival(self, delay: float = 0.0) -> float:
        """When something arrives that is sent now."""
        now = trio.current_time()
        return math.ceil(now / _GRID + self._rng.choice(_LATENCIES)) * _GRID + delay

    async def way(self, host: str, peer_host: str) -> None:
        """Wait as long as it takes from one host to another."""
        link = self._link(host, peer_host)
        await trio.sleep_until(self.arrival(link.delay))
        while link.blocked:
            await link.opened.wait()

    def is_blocked(self, host: str, peer_host: str) -> bool:
        """Whether nothing gets from one host to another."""
        return bool(self._link(host, peer_host).blocked)

    def is_deaf(self, host: str) -> bool:
        """Whether a host reads nothing from its connections."""
        return bool(self._deaf[host])

    # Faults

    def block(self, host: str, peer_host: str) -> None:
        """Hold back what goes from one host to another, until it is unblocked as often."""
        link = self._link(host, peer_host)
        if not link.blocked:
            link.opened = trio.Event()
        link.blocked += 1

    def unblock(self, host: str, peer_host: str) -> None:
        """Undo one `block`."""
        link = self._link(host, peer_host)
        link.blocked -= 1
        if not link.blocked:
            link.opened.set()
            self._look_again(link)

    def deafen(self, host: str) -> None:
        """Have a host read nothing; its connections stay, and it can write, until `hear`."""
        self._deaf[host] += 1

    def hear(self, host: str) -> None:
        """Undo one `deafen`."""
        self._deaf[host] -= 1
        for end in self._ends:
            if end.host == host:
                end.look_again()

    def slow_down(self, host: str, peer_host: str, delay: float) -> None:
        """Have everything sent from now on take so many seconds longer."""
        self._link(host, peer_host).delay = delay

    def cut(self, host: str, peer_host: str) -> None:
        """Break the connections between two hosts; both sides know at once."""
        for end in tuple(self._ends):
            if {end.host, end.peer_host} == {host, peer_host}:
                end.fail()

    def give_up(self, host: str, peer_host: str) -> None:
        """Break those of the connections between two hosts that are watched."""
        for end in tuple(self._ends):
            if end.watched and {end.host, end.peer_host} == {host, peer_host}:
                end.fail()

    def crash(self, host: str) -> None:
        """Have a host be gone; who is connected with it learns that as soon as it can."""
        for address in [address for address in self._listeners if address[0] == host]:
            del self._listeners[address]
        for end in tuple(self._ends):
            if end.host == host:
                end.close()

    def _link(self, host: str, peer_host: str) -> _Link:
        link = self._links.get((host, peer_host))
        if link is None:
            link = self._links[host, peer_host] = _Link()
        return link

    def _look_again(self, link: _Link) -> None:
        for end in self._ends:
            if end._via is link:
                end.look_again()


class ByteStream(trio.abc.Stream):
    """An end of a connection that carries bytes, as a socket does.

    Attributes:
        heard: when something was read of it last, or it was made; seconds since the run began.
        quiet: the longest time until then in which nothing was.
    """

    def __init__(self, end: End) -> None:
        self.socket = self
        self.heard = trio.current_time()
        self.quiet = self.heard, self.heard
        self._end = end
        self._rest = b""

    @property
    def peer_host(self) -> str:
        """The host at the other end."""
        return self._end.peer_host

    def getpeername(self) -> tuple[str, int]:
        """Return an address, as a socket does; the host's number is in it."""
        number = "".join(filter(str.isdigit, self._end.peer_host)) or "0"
        return f"10.0.0.{number}", 40000

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._end.send(bytes(data), len(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._rest:
            await trio.lowlevel.checkpoint()
        else:
            try:
                self._rest = await self._end.receive()
            except trio.EndOfChannel:
                return b""
            self._hear()
        size = len(self._rest) if max_bytes is None else max_bytes
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _hear(self) -> None:
        before, self.heard = self.heard, trio.current_time()
        begin, end = self.quiet
        if self.heard - before > end - begin:
            self.quiet = before, self.heard

    async def send_eof(self) -> None:
        self._end.finish()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._end.close()
        await trio.lowlevel.checkpoint()
