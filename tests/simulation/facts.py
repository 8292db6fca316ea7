"""A history put in order: calls, runs and leases as wholes, for the checker."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.simulation.history import (
    Began,
    CallEnded,
    CallEnding,
    CallStarted,
    Event,
    Faulty,
    LeaseAdopted,
    LeaseDeleted,
    LeaseStored,
    NodeStopped,
    Paused,
    ReplyDeleted,
    ReplyStored,
    RunEnded,
    RunStarted,
)

__all__ = ["Call", "Chain", "Facts", "Run", "StoredReply", "node_of"]


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of an executor. Attributes: how: None while it goes on."""

    number: int
    request: str
    executor: str
    began: float
    ended: float = math.inf
    how: CallEnding | None = None
    detail: str = ""
    endings: int = 0

    def open_at(self, at: float) -> bool:
        """Whether it went on at a time, its beginning and its end included."""
        return self.began <= at <= self.ended


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of a function; it ends with its worker at the latest."""

    request: str
    name: str
    worker: str
    lease: str
    began: float
    ended: float = math.inf


@dataclass(slots=True)
class Chain:
    """A lease and its extensions.

    Attributes:
        over: when it was deleted, or another one stored in its place.
        workers: that have held one of the leases.
    """

    leases: list[LeaseStored]
    over: float = math.inf
    workers: dict[str, None] = field(default_factory=dict)

    @property
    def began(self) -> float:
        return self.leases[0].at

    def live_at(self, at: float) -> bool:
        """Whether it was there at a time, and had not expired."""
        held = [lease for lease in self.leases if lease.at <= at]
        return bool(held) and at < self.over and at < held[-1].expires


@dataclass(slots=True, kw_only=True)
class StoredReply:
    """A reply, from its being stored to its being deleted, if it was. By whom: `by`."""

    request: str
    run: str
    stored: float
    deleted: float = math.inf
    by: str = ""


class Facts:
    """What a history tells.

    Attributes:
        limited: whether workers bound how many requests they run.
        calls, runs: by number and name.
        chains, replies: by request, in their order.
        chain_of: by lease.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = tuple(events)
        self.limited = False
        self.calls: dict[int, Call] = {}
        self.runs: dict[str, Run] = {}
        self.chains: dict[str, list[Chain]] = defaultdict(list)
        self.chain_of: dict[str, Chain] = {}
        self.replies: dict[str, list[StoredReply]] = defaultdict(list)
        self.pauses: list[Paused] = []
        self.faults: list[Faulty] = []
        for event in self.events:
            self._sort(event)

    def calls_of(self, request: str) -> list[Call]:
        """Return the calls of a request, in the order of their beginnings."""
        return [call for call in self.calls.values() if call.request == request]

    def runs_of(self, request: str) -> list[Run]:
        """Return the runs of a request, in the order of their beginnings."""
        return [run for run in self.runs.values() if run.request == request]

    def chain_at(self, request: str, at: float) -> Chain | None:
        """Return the chain of a request that was the last one at a time."""
        chains = [chain for chain in self.chains[request] if chain.began <= at]
        return chains[-1] if chains else None

    def _sort(self, event: Event) -> None:
        match event:
            case Began():
                self.limited = event.limited
            case CallStarted():
                self.calls[event.call] = Call(
                    number=event.call,
                    request=event.request,
                    executor=event.executor,
                    began=event.at,
                )
            case CallEnded() if event.call in self.calls:
                call = self.calls[event.call]
                call.ended, call.how, call.detail = event.at, event.how, event.detail
                call.endings += 1
            case Paused():
                self.pauses.append(event)
            case Faulty():
                self.faults.append(event)
            case ReplyStored():
                self.replies[event.request].append(
                    StoredReply(request=event.request, run=event.run, stored=event.at)
                )
            case ReplyDeleted() if self.replies[event.request]:
                reply = self.replies[event.request][-1]
                reply.deleted, reply.by = event.at, event.node
            case LeaseStored() | LeaseDeleted() | LeaseAdopted():
                self._sort_lease(event)
            case RunStarted() | RunEnded() | NodeStopped():
                self._sort_run(event)
            case _:
                pass

    def _sort_lease(self, event: LeaseStored | LeaseDeleted | LeaseAdopted) -> None:
        chains = self.chains[event.request]
        match event:
            case LeaseStored():
                if event.previous and chains:
                    chains[-1].leases.append(event)
                else:
                    if chains:
                        chains[-1].over = min(chains[-1].over, event.at)
                    chains.append(Chain([event]))
                self.chain_of[event.lease] = chains[-1]
            case LeaseDeleted():
                if chains:
                    chains[-1].over = min(chains[-1].over, event.at)
            case LeaseAdopted():
                self._hold(event.lease, event.worker)

    def _sort_run(self, event: RunStarted | RunEnded | NodeStopped) -> None:
        match event:
            case RunStarted():
                self._hold(event.lease, event.worker)
                self.runs[event.run] = Run(
                    request=event.request,
                    name=event.run,
                    worker=event.worker,
                    lease=event.lease,
                    began=event.at,
                )
            case RunEnded():
                if event.run in self.runs:
                    self.runs[event.run].ended = event.at
            case NodeStopped():
                for run in self.runs.values():
                    if node_of(run.worker) == event.node:
                        run.ended = min(run.ended, event.at)

    def _hold(self, lease: str, worker: str) -> None:
        if lease in self.chain_of:
            self.chain_of[lease].workers[worker] = None


def node_of(worker: str) -> str:
    """Return the node on which a worker runs, whose instances are numbered."""
    return worker.partition(".")[0]
