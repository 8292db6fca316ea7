"""A history put in order: calls, runs and leases as wholes, for the checker."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.simulation.history import (
    Assigned,
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
    NodeStopping,
    Paused,
    ReplyDeleted,
    ReplyStored,
    RunEnded,
    RunStarted,
    Unassigned,
)

__all__ = [
    "Call",
    "Chain",
    "Ending",
    "Facts",
    "Run",
    "Span",
    "StoredReply",
    "most_at_once",
    "node_of",
]


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
    """One run of a function; it ends with its worker at the latest.

    Attributes:
        connection: that its request came over.
    """

    request: str
    name: str
    worker: str
    lease: str
    began: float
    connection: str = ""
    ended: float = math.inf


@dataclass(slots=True)
class Chain:
    """A lease and its extensions.

    Attributes:
        over: when it was deleted, or another one stored in its place.
        workers: since when each has held one of the leases that did.
    """

    leases: list[LeaseStored]
    over: float = math.inf
    workers: dict[str, float] = field(default_factory=dict)

    @property
    def began(self) -> float:
        return self.leases[0].at

    def live_at(self, at: float) -> bool:
        """Whether it was there at a time, and had not expired."""
        held = [lease for lease in self.leases if lease.at <= at]
        return bool(held) and at < self.over and at < held[-1].expires


@dataclass(slots=True)
class Span:
    """From when until when, in seconds."""

    since: float
    until: float = math.inf


@dataclass(slots=True, kw_only=True)
class StoredReply:
    """A reply, from its being stored to its being deleted, if it was. By whom: `by`."""

    request: str
    run: str
    stored: float
    deleted: float = math.inf
    by: str = ""


@dataclass(slots=True)
class Ending:
    """From when a node was told to end in good order, until it did.

    Attributes:
        crashed: whether it was killed before.
    """

    node: str
    told: float
    over: float = math.inf
    crashed: bool = False


class Facts:
    """What a history tells.

    Attributes:
        gateways: by name.
        limits: how many requests each worker runs at once, by name; None is any number.
        streams: whether gateways know the methods that stream.
        counted: from when until when each request was counted on a worker with a limit, by
            the worker's instance id.
        calls, runs: by number and name.
        chains, replies: by request, in their order.
        chain_of: by lease.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = tuple(events)
        self.gateways: tuple[str, ...] = ("gw-0",)
        self.limits: dict[str, int | None] = {"wk-0": None}
        self.streams = True
        self.counted: dict[str, list[Span]] = defaultdict(list)
        self._counted_now: dict[str, tuple[str, Span]] = {}
        self.calls: dict[int, Call] = {}
        self.runs: dict[str, Run] = {}
        self.chains: dict[str, list[Chain]] = defaultdict(list)
        self.chain_of: dict[str, Chain] = {}
        self.replies: dict[str, list[StoredReply]] = defaultdict(list)
        self.pauses: list[Paused] = []
        self.faults: list[Faulty] = []
        self.endings: list[Ending] = []
        for event in self.events:
            self._sort(event)

    @property
    def workers(self) -> list[str]:
        """The instance ids of those that have run something, or held a lease."""
        held = (worker for chain in self.chain_of.values() for worker in chain.workers)
        return [*dict.fromkeys((*held, *(run.worker for run in self.runs.values())))]

    def calls_of(self, request: str) -> list[Call]:
        """Return the calls of a request, in the order of their beginnings."""
        return [call for call in self.calls.values() if call.request == request]

    def runs_of(self, request: str) -> list[Run]:
        """Return the runs of a request, in the order of their beginnings."""
        return [run for run in self.runs.values() if run.request == request]

    def most_counted(self, worker: str, since: float, until: float) -> int:
        """Return how many requests were counted on a worker at once at most, within a span.

        At one moment one may be assigned before another's place is free.
        """
        within = [
            Span(max(span.since, since), math.nextafter(span.until, math.inf))
            for span in self.counted[worker]
            if span.since <= until and since <= span.until
        ]
        return most_at_once(within)[0]

    def held_by(self, worker: str) -> Iterator[Span]:
        """Find from when until when a worker held each request, under a lease that was live.

        Of its runs those count that are known, and until their ends; what waits to run there
        counts from the first extension of its lease.
        """
        for chain in {id(chain): chain for chain in self.chain_of.values()}.values():
            if worker in chain.workers:
                ends = [
                    run.ended for run in self.runs.values() if self._is_under(run, chain, worker)
                ]
                until = min(chain.over, chain.leases[-1].expires, max(ends, default=math.inf))
                yield Span(chain.workers[worker], until)

    def _is_under(self, run: Run, chain: Chain, worker: str) -> bool:
        return run.worker == worker and self.chain_of.get(run.lease) is chain

    def chain_at(self, request: str, at: float) -> Chain | None:
        """Return the chain of a request that was the last one at a time."""
        chains = [chain for chain in self.chains[request] if chain.began <= at]
        return chains[-1] if chains else None

    def _sort(self, event: Event) -> None:
        match event:
            case Began():
                self.gateways = tuple(f"gw-{number}" for number in range(event.gateways))
                self.streams = event.streams
                self.limits = {f"wk-{number}": limit for number, limit in enumerate(event.limits)}
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
            case Assigned() | Unassigned():
                self._sort_assignment(event)
            case LeaseStored() | LeaseDeleted() | LeaseAdopted():
                self._sort_lease(event)
            case NodeStopping():
                self.endings.append(Ending(event.node, event.at))
            case RunStarted() | RunEnded():
                self._sort_run(event)
            case NodeStopped():
                self._sort_end(event)
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
                self._count_as_long_as(event)
                self.chain_of[event.lease] = chains[-1]
            case LeaseDeleted():
                if chains:
                    chains[-1].over = min(chains[-1].over, event.at)
            case LeaseAdopted():
                self._hold(event)

    def _sort_assignment(self, event: Assigned | Unassigned) -> None:
        _, span = self._counted_now.pop(event.request, ("", None))
        if span is not None:
            span.until = min(span.until, event.at)
        if isinstance(event, Assigned):
            self._count(event.request, event.worker, event.at)

    def _count(self, request: str, worker: str, since: float, until: float = math.inf) -> None:
        span = Span(since, until)
        self._counted_now[request] = worker, span
        self.counted[worker].append(span)

    def _count_as_long_as(self, lease: LeaseStored) -> None:
        """A request's place on its worker lasts as its lease does, and its extensions.

        Whole seconds of it; one whose place is over is counted afresh.
        """
        worker, span = self._counted_now.get(lease.request, ("", None))
        if span is None:
            return
        if span.until <= lease.at:
            self._count(lease.request, worker, lease.at, math.ceil(lease.expires))
        else:
            span.until = math.ceil(lease.expires)

    def _sort_end(self, event: NodeStopped) -> None:
        for run in self.runs.values():
            if node_of(run.worker) == event.node:
                run.ended = min(run.ended, event.at)
        for ending in self.endings:
            if ending.node == event.node and math.isinf(ending.over):
                ending.over, ending.crashed = event.at, event.crashed

    def _sort_run(self, event: RunStarted | RunEnded) -> None:
        match event:
            case RunStarted():
                self._hold(event)
                self.runs[event.run] = Run(
                    request=event.request,
                    name=event.run,
                    worker=event.worker,
                    lease=event.lease,
                    began=event.at,
                    connection=event.connection,
                )
            case RunEnded():
                if event.run in self.runs:
                    self.runs[event.run].ended = event.at

    def _hold(self, event: LeaseAdopted | RunStarted) -> None:
        if event.lease in self.chain_of:
            self.chain_of[event.lease].workers.setdefault(event.worker, event.at)


def most_at_once(spans: Iterable[Span]) -> tuple[int, float]:
    """Return how many spans overlap at most, and from when on.

    One that begins when another ends does not overlap it.
    """
    steps = [step for span in spans for step in ((span.since, 1), (span.until, -1))]
    most, at, now = 0, 0.0, 0
    for when, step in sorted(steps):
        now += step
        if now > most:
            most, at = now, when
    return most, at


def node_of(worker: str) -> str:
    """Return the node on which a worker runs, whose instances are numbered."""
    return worker.partition(".")[0]
