"""What each node remembers of requests and connections, while they go on."""

from collections.abc import Iterator

from connect.rpc.executor_streams import ExecutorStreams
from tests.simulation.executors import ExecutorNode
from tests.simulation.nodes import GatewayNode, Node, WorkerNode

__all__ = ["entries"]


def entries(node: Node) -> Iterator[tuple[str, int]]:
    """Find what a node remembers of requests, and of connections whose workers are not ready.

    Nothing of it may be there when all of them are over.
    """
    match node:
        case GatewayNode():
            counts = _entries_of_gateway(node)
        case ExecutorNode():
            counts = _entries_of_executor(node)
        case WorkerNode():
            counts = _entries_of_worker(node)
        case _:
            return
    yield from ((what, number) for what, number in counts if number)


def _entries_of_gateway(node: GatewayNode) -> Iterator[tuple[str, int]]:
    gateway = node.gateway
    keeper, admission = gateway._keeper, gateway.admission
    yield "replies kept", len(keeper)
    yield "replies being saved", keeper._saving
    yield "pushes", keeper.pushes._all.pushes
    yield "handshakes", admission.handshakes + admission.pending
    yield "places without a connection", admission.places - len(gateway.table)
    yield "records to remove", len(gateway._removals)
    yield "connections that end", len(gateway._serving) - len(gateway.table)
    for connection in gateway.table:
        yield "requests in flight", connection.in_flight
        yield "leases being extended", len(connection._extending)
        yield "forwards", len(connection.forwards._pending)
    streams = gateway.services.replies
    assert isinstance(streams, ExecutorStreams)
    for session in (session for sessions in streams._sessions.values() for session in sessions):
        yield "forwards on a stream", len(session._forwards)
        yield "receipts", len(session._receipts)
        yield "questions about leases", len(session._questions)


def _entries_of_executor(node: ExecutorNode) -> Iterator[tuple[str, int]]:
    executor = node._executor
    assert executor is not None
    yield "requests in progress", executor.in_progress
    yield "callers", executor._callers
    yield "bytes of requests", executor._request_bytes
    parts = executor._parts
    assert parts is not None
    yield "requests to clean up after", len(parts.cleanup)
    assert node.streams is not None
    links = (gateway.link for gateway in node.streams._gateways.values())
    yield "forwards on a stream", sum(link.in_progress for link in links if link is not None)


def _entries_of_worker(node: WorkerNode) -> Iterator[tuple[str, int]]:
    work = node._worker._work
    assert work is not None
    yield "requests in flight", len(work.request_ids)
    yield "leases", len(work.leases._held)
    yield "replies", len(work.delivery)
