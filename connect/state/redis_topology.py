"""Which node of a Redis Cluster serves which slots, as its nodes tell it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from connect.errors import StoreUnavailable
from connect.state.commands import Reply
from connect.state.redis_dial import CONNECTION_ERRORS, Dial, ask
from connect.state.redis_url import RedisAddress

__all__ = ["SLOTS", "SlotRange", "Topology", "discover", "node_address"]

SLOTS = 16384

# Nodes asked at once.
_ASKED = 5

# Once a node of a cluster that is well has answered, others are waited for this long.
_SECOND_OPINIONS = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Slots, both ends included, and the master that serves them."""

    first: int
    last: int
    master: RedisAddress


@dataclass(frozen=True, slots=True)
class Topology:
    """One node's view of the cluster.

    Attributes:
        well: whether that node takes the cluster for able to serve.
        epoch: grows with every failover and migration that the node has heard of.
        replicas: nodes that serve no slots, but can be asked.
    """

    well: bool
    epoch: int
    ranges: tuple[SlotRange, ...]
    replicas: tuple[RedisAddress, ...]


async def discover(
    nodes: Sequence[RedisAddress], dial: Dial, deadline: float
) -> tuple[Topology, ...]:
    """Ask nodes for the topology.

    A node that was cut off from the others can have an old view, so several are asked at
    once, and the one that takes the cluster for well and knows its highest epoch is
    believed.

    Args:
        nodes: to ask, at least one: a few at once, and further ones only if none answers.
        deadline: on the Trio clock.

    Returns:
        The views, best first; there is at least one.

    Raises:
        StoreUnavailable: no node has answered; the text is one line, and says why the
            first one did not.
    """
    failures: dict[RedisAddress, str] = {}
    for start in range(0, len(nodes), _ASKED):
        views = await _views_of(nodes[start : start + _ASKED], dial, deadline, failures)
        if views:
            return tuple(sorted(views, key=lambda view: (view.well, view.epoch), reverse=True))
    reason = failures.get(nodes[0], f"Redis at {nodes[0]} did not answer in time")
    others = " (nor does any other node answer)" if len(nodes) > 1 else ""
    raise StoreUnavailable(reason + others)


async def _views_of(
    nodes: Sequence[RedisAddress], dial: Dial, deadline: float, failures: dict[RedisAddress, str]
) -> list[Topology]:
    """Ask nodes at once; why some have no answer goes into ``failures``."""
    views: list[Topology] = []
    with trio.CancelScope(deadline=deadline) as scope:
        async with trio.open_nursery() as nursery:

            async def ask_one(node: RedisAddress) -> None:
                try:
                    view = await _view_of(node, dial, deadline)
                except StoreUnavailable as error:
                    failures[node] = str(error)
                    return
                views.append(view)
                if view.well:
                    soon = trio.current_time() + _SECOND_OPINIONS
                    scope.deadline = min(scope.deadline, soon)

            for node in nodes:
                nursery.start_soon(ask_one, node)
    return views


async def _view_of(node: RedisAddress, dial: Dial, deadline: float) -> Topology:
    connection = await dial(node, deadline)
    try:
        info = await ask(connection, "CLUSTER", "INFO")
        slots = await ask(connection, "CLUSTER", "SLOTS")
    except CONNECTION_ERRORS as error:
        raise StoreUnavailable(f"the connection to Redis at {node} broke: {error}") from error
    finally:
        await trio.aclose_forcefully(connection[0])
    try:
        return _topology(node, info, slots)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise StoreUnavailable(
            f"Redis at {node} tells of its cluster in an unknown form: {error}"
        ) from error


def _topology(node: RedisAddress, info: bytes, slots: Reply) -> Topology:
    facts = dict(line.partition(":")[::2] for line in info.decode().splitlines())
    ranges = []
    replicas: dict[RedisAddress, None] = {}
    for first, last, master, *others in slots:
        ranges.append(SlotRange(first, last, _listed(node, master)))
        replicas.update((_listed(node, other), None) for other in others)
    return Topology(
        well=facts.get("cluster_state") == "ok",
        epoch=int(facts.get("cluster_current_epoch", 0)),
        ranges=tuple(ranges),
        replicas=tuple(replicas),
    )


def _listed(asked: RedisAddress, entry: Sequence[Reply]) -> RedisAddress:
    host = (entry[0] or b"").decode()
    return node_address(asked, host, int(entry[1]))


def node_address(asked: RedisAddress, host: str, port: int) -> RedisAddress:
    """Return the address of a node that another one names; login and TLS are the same.

    Args:
        asked: the node that names it.
        host: where the named node is; empty or ``?`` means the host of the one asked.
    """
    return replace(asked, host=asked.host if host in ("", "?") else host, port=port)
