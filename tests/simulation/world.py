"""Everything there is in one simulation: the nodes, what joins them, and who watches."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from unittest import mock
from urllib.parse import urlsplit

import trio
from ulid import ULID

from connect.protocol.lifecycle import Phase
from connect.settings import DEVELOPMENT_ENV_ID
from connect.state.keys import Keys
from connect.worker import App, Happening, Journal, JournalEntry, websocket
from connect.worker.errors import ConnectionFailed
from tests.simulation.connections import ConnectionJournal, DialFailed, Dialled
from tests.simulation.determinism import NODE
from tests.simulation.executors import ExecutorNode
from tests.simulation.facts import node_of
from tests.simulation.history import (
    Assigned,
    LeaseAdopted,
    LeaseDeleted,
    LeaseStored,
    ReplyConfirmed,
    ReplyDeleted,
    ReplyStored,
    RunEnded,
    RunStarted,
    Unassigned,
)
from tests.simulation.network import ByteStream, Refused
from tests.simulation.nodes import (
    ApiNode,
    GatewayNode,
    Node,
    Surroundings,
    WorkerNode,
)

__all__ = ["START", "Shape", "World"]

START = 1_764_000_000.0  # unix seconds

# Workers do not wait for gateways any longer, in seconds.
_GATEWAYS_UP = 0.5

_RUN = re.compile(rb"run-[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many nodes there are.

    Attributes:
        concurrency: of each worker; None is any number of requests at once.
    """

    gateways: int
    executors: int
    concurrency: tuple[int | None, ...]


class World:
    """The nodes by name; each may end and begin again.

    Args:
        app: what the workers serve.
        running: gets the name of the run that began last, by worker and request, for the
            function to know.
        nursery: where the nodes run.

    Attributes:
        instances: the instance ids of all workers so far.
        calls: numbers of the calls of executors, whoever makes them.
    """

    def __init__(
        self,
        around: Surroundings,
        shape: Shape,
        app: App,
        running: dict[str, str],
        nursery: trio.Nursery,
    ) -> None:
        self.around = around
        self.shape = shape
        self.instances: list[str] = []
        self.calls = count(1)
        self._running = running
        self._app = app
        self._nursery = nursery
        self._nodes: dict[str, Node] = {}
        self._runs = 0
        self._watch_redis()

    # Nodes

    @property
    def gateways(self) -> tuple[str, ...]:
        """Their names, as of the others."""
        return tuple(f"gw-{number}" for number in range(self.shape.gateways))

    @property
    def executors(self) -> tuple[str, ...]:
        return tuple(f"ex-{number}" for number in range(self.shape.executors))

    @property
    def workers(self) -> tuple[str, ...]:
        return tuple(f"wk-{number}" for number in range(len(self.shape.concurrency)))

    def node(self, name: str) -> Node:
        """Return the node of this name that was started last."""
        return self._nodes[name]

    def executor(self, name: str) -> ExecutorNode:
        node = self._nodes[name]
        assert isinstance(node, ExecutorNode)
        return node

    def connected(self) -> tuple[tuple[str, str], ...]:
        """Return which workers are ready at which gateways now, by their names."""
        nodes = (self._nodes[name] for name in self.gateways)
        return tuple(
            (node_of(connection.joined.connection.instance_id), node.name)
            for node in nodes
            if isinstance(node, GatewayNode) and node.up.is_set() and not node.gone.is_set()
            for connection in node.gateway.table
            if connection.joined is not None and connection.machine.phase is Phase.READY
        )

    async def start_all(self) -> None:
        """Start one node of each name; the workers once there are gateways to send them to."""
        for name in ("api", *self.gateways, *self.executors):
            self.start(name)
        with trio.move_on_after(_GATEWAYS_UP):
            for name in self.gateways:
                await self.node(name).up.wait()
        for name in self.workers:
            self.start(name)

    def start(self, name: str) -> Node:
        """Start a node; one of this name must be gone, or never have been."""
        node = self._nodes[name] = self._make(name)
        self._nursery.start_soon(node.run)
        return node

    async def restart(self, name: str, after: float, *, kill: bool) -> None:
        """Stop or kill a node, and start it again some seconds later."""
        node = self._nodes[name]
        if kill:
            node.kill()
        else:
            node.stop()
        await node.gone.wait()
        await trio.sleep(after)
        self.start(name)

    async def stop(self, *names: str) -> None:
        """Stop nodes in good order, all at once; return when they are gone."""
        for name in names:
            self._nodes[name].stop()
        for name in names:
            await self._nodes[name].gone.wait()

    def _make(self, name: str) -> Node:
        kind = name.partition("-")[0]
        if kind == "gw":
            return GatewayNode(name, self.around)
        if kind == "ex":
            return ExecutorNode(name, self.around)
        if kind == "api":
            return ApiNode(name, self.around)
        worker = WorkerNode(
            name,
            self.around,
            self._app,
            concurrency=self.shape.concurrency[self.workers.index(name)],
            journal=self._journal,
        )
        self.instances.append(worker.process)
        return worker

    # Who watches

    def _watch_redis(self) -> None:
        keys, database = Keys(), self.around.redis.database
        history, redis = self.around.history, self.around.redis
        leases = keys.lease(DEVELOPMENT_ENV_ID, "")
        responses = keys.response(DEVELOPMENT_ENV_ID, "")
        mappings = keys.request_worker(DEVELOPMENT_ENV_ID, "")
        known: dict[str, str] = {}

        def lease_changed(key: str, value: bytes | None) -> None:
            request = key.removeprefix(leases)
            if value is None:
                known.pop(request, None)
                history.add(LeaseDeleted(at=history.now, request=request, node=redis.asking))
                return
            lease = json.loads(value)
            lease_id = lease["leaseID"]
            if known.get(request) == lease_id:
                return  # only the executor is another
            known[request] = lease_id
            history.add(
                LeaseStored(
                    at=history.now,
                    request=request,
                    lease=lease_id,
                    previous=lease.get("prevLeaseID", ""),
                    expires=round(ULID.from_str(lease_id).timestamp - START, 3),
                )
            )

        def response_changed(key: str, value: bytes | None) -> None:
            request = key.removeprefix(responses)
            if value is None:
                history.add(ReplyDeleted(at=history.now, request=request, node=redis.asking))
            else:
                history.add(ReplyStored(at=history.now, request=request, run=run_in(value)))

        def mapping_changed(key: str, value: bytes | None) -> None:
            request = key.removeprefix(mappings)
            if value is None:
                history.add(Unassigned(at=history.now, request=request))
            else:
                history.add(Assigned(at=history.now, request=request, worker=value.decode()))

        database.watch(leases, lease_changed)
        database.watch(mappings, mapping_changed)
        database.watch(responses, response_changed)

    def _journal(self, node: WorkerNode) -> Journal:
        history = self.around.history
        connections = ConnectionJournal(node.name, node.process, history)

        def write(entry: JournalEntry) -> None:
            request, worker, now = entry.request_id, node.process, history.now
            place = node.name + request
            if node.dead:
                return
            match entry.what:
                case Happening.STARTED:
                    self._runs += 1
                    run = self._running[place] = f"run-{self._runs}"
                    history.add(
                        RunStarted(
                            at=now,
                            request=request,
                            run=run,
                            worker=worker,
                            lease=entry.detail,
                            connection=entry.connection_id,
                        )
                    )
                case Happening.FINISHED:
                    run = self._running[place]
                    history.add(
                        RunEnded(
                            at=now,
                            request=request,
                            run=run,
                            worker=worker,
                            end=str(entry.end),
                        )
                    )
                case Happening.LEASE_EXTENDED:
                    history.add(
                        LeaseAdopted(at=now, request=request, worker=worker, lease=entry.detail)
                    )
                case Happening.REPLY_ACKED | Happening.REPLY_FLUSHED:
                    how = str(entry.what)
                    history.add(ReplyConfirmed(at=now, request=request, worker=worker, how=how))
                case _:
                    connections.write(entry)

        return write

    @contextmanager
    def dialling(self) -> Iterator[None]:
        """Have workers' WebSockets go over the simulated network, for the block."""

        async def dial(url: str, deadline: float) -> ByteStream:
            parts, history, worker = urlsplit(url), self.around.history, NODE.get()
            gateway = parts.hostname or ""
            history.add(Dialled(at=history.now, worker=worker, gateway=gateway))
            with trio.move_on_after(deadline):
                try:
                    end = await self.around.network.dial(worker, gateway, parts.port or 80)
                except Refused as error:
                    history.add(DialFailed(at=history.now, worker=worker, gateway=gateway))
                    raise ConnectionFailed(f"cannot reach {url}: {error}") from error
                return ByteStream(end)
            history.add(DialFailed(at=history.now, worker=worker, gateway=gateway))
            raise ConnectionFailed(f"cannot reach {url}: no answer in {deadline:g} s")

        with mock.patch.object(websocket, "_dial", dial):
            yield


def run_in(response: bytes) -> str:
    """Return the name of the run that a reply is of."""
    found = _RUN.search(response)
    return "" if found is None else found[0].decode()
