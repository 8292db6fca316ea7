"""What must hold after any sequence of operations: capacity and leases."""

from collections.abc import Awaitable, Callable

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from connect.state.embedded import EmbeddedCommands
from connect.state.keys import Keys
from connect.state.redis_store import RedisStore
from connect.state.store import Acquired, Assignment, ExtendOutcome, LeaseState
from tests.state.harness import ENV, TIMING, Harness, SettableNow

REQUESTS = st.sampled_from(["r1", "r2", "r3", "r4"])
WORKERS = st.sampled_from(["c1", "c2"])
LIMITS = {"c1": 1, "c2": 2}

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), REQUESTS),
        st.tuples(st.just("reroute"), REQUESTS),
        st.tuples(st.just("extend"), REQUESTS),
        st.tuples(st.just("complete"), REQUESTS),
        st.tuples(st.just("assign"), REQUESTS, WORKERS),
        st.tuples(st.just("unassign"), REQUESTS, WORKERS),
        st.tuples(st.just("reconnect"), WORKERS),
        st.tuples(st.just("pass"), st.floats(0.1, 900)),
    ),
    max_size=25,
)


class Story:
    """Plays steps against a store, checking what must hold after each."""

    def __init__(self) -> None:
        commands, self.now = EmbeddedCommands(), SettableNow()
        self.store = RedisStore(commands, now=self.now, timing=TIMING)
        self.harness = Harness(self.store, commands, self.now, Keys())
        self.held: dict[str, Acquired] = {}

    async def play(self, steps: list[tuple[object, ...]]) -> None:
        for worker in LIMITS:
            await self.reconnect(worker)
        for name, *args in steps:
            step: Callable[..., Awaitable[None]] = getattr(self, f"{name}_")
            await step(*args)
            for worker, limit in LIMITS.items():
                assert await self.store.capacity.load(ENV, f"worker-{worker}") <= limit

    async def reconnect(self, worker: str) -> None:
        await self.harness.connect(worker, limit=LIMITS[worker])

    reconnect_ = reconnect

    async def pass_(self, seconds: float) -> None:
        self.now.seconds += seconds
        for worker in LIMITS:
            await self.store.connections.refresh(ENV, self.harness.connection(worker))

    async def acquire_(self, request_id: str) -> None:
        leased = await self.store.leases.state(ENV, request_id)
        outcome = await self.harness.acquire(request_id)
        if isinstance(outcome, Acquired):
            assert leased is not LeaseState.LEASED
            self.held[request_id] = outcome

    async def reroute_(self, request_id: str) -> None:
        if (held := self.held.get(request_id)) is None:
            return
        outcome = await self.harness.acquire(
            request_id, held_lease=held.lease_id, held_instance=held.instance_id
        )
        if isinstance(outcome, Acquired):
            self.held[request_id] = outcome

    async def extend_(self, request_id: str) -> None:
        if (held := self.held.get(request_id)) is None:
            return
        result = await self.store.leases.extend(
            ENV,
            request_id,
            lease_id=held.lease_id,
            instance_id=held.instance_id,
            seconds=20,
            limited=True,
        )
        if result.outcome is ExtendOutcome.EXTENDED:
            lease = await self.store.leases.get(ENV, request_id)
            assert lease is not None
            assert lease.id == result.lease_id

    async def complete_(self, request_id: str) -> None:
        held = self.held.pop(request_id, None)
        instance_id = None if held is None else held.instance_id
        await self.store.routing.complete(ENV, request_id, instance_id)
        assert await self.store.leases.state(ENV, request_id) is LeaseState.NONE

    async def assign_(self, request_id: str, worker: str) -> None:
        before = await self.store.capacity.load(ENV, f"worker-{worker}")
        outcome = await self.store.capacity.assign(ENV, f"worker-{worker}", request_id)
        if before < LIMITS[worker]:
            assert outcome is Assignment.ASSIGNED

    async def unassign_(self, request_id: str, worker: str) -> None:
        await self.store.capacity.unassign(ENV, f"worker-{worker}", request_id)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_workers_never_have_more_than_their_limit(steps: list[tuple[object, ...]]) -> None:
    trio.run(Story().play, steps)
