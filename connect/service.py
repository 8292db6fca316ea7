"""A running service: where it listens, whether it is ready, and how it ends."""

from dataclasses import dataclass, replace

import trio
from structlog.typing import FilteringBoundLogger

from connect.nursery.gateway import Gateway
from connect.reloading import Reloadable
from connect.rpc.executor import Executor
from connect.runs.runner import Runner

__all__ = ["Addresses", "Service"]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a service really listens; None for roles that run elsewhere."""

    api: str | None = None
    gateway: str | None = None
    gateway_rpc: str | None = None
    executor_rpc: str | None = None
    admin: str | None = None

    def as_json(self) -> dict[str, str]:
        """Return the addresses by name, without those of other roles."""
        named = {
            "api": self.api,
            "gateway": self.gateway,
            "gateway_rpc": self.gateway_rpc,
            "executor_rpc": self.executor_rpc,
            "admin": self.admin,
        }
        return {name: address for name, address in named.items() if address is not None}


class Service:
    """A running service, inside `connect.app.open_service`.

    Attributes:
        addresses: where it listens.
        settings: what it was built from, and given since.
        reloads: its settings and function definitions, to be given anew.
        gateway: the gateway, where that role runs here.
        executor: the executor, where one runs here; also one that only `invoke` uses.
        runner: the runs of functions, where the API runs here.
        accepting: the scope of accepting workers' sockets.
        deadline: the moment (Trio clock) up to which requests in progress may go on once
            the service stops; before, one that is long over.
    """

    def __init__(self, reloads: Reloadable, log: FilteringBoundLogger) -> None:
        self.settings = reloads.settings
        self.reloads = reloads
        self.addresses = Addresses()
        self._log = log
        self.gateway: Gateway | None = None
        self.executor: Executor | None = None
        self.runner: Runner | None = None
        self.accepting = trio.CancelScope()
        self.deadline = float("-inf")
        self._stopping = False

    def note(self, **addresses: str) -> None:
        """Add addresses that are bound now, by their names in `Addresses`."""
        self.addresses = replace(self.addresses, **addresses)

    @property
    def stopping(self) -> bool:
        """Whether the service is coming to its end."""
        return self._stopping

    def not_ready(self) -> str | None:
        """Say why the service takes no work, or None."""
        if self._stopping:
            return "the service is stopping"
        if self.gateway is not None and self.gateway.draining:
            return "the gateway is draining"
        if self.gateway is not None and self.gateway.store_away:
            return "the gateway gets no answer from the state store"
        return None

    async def stop(self) -> None:
        """End in order: be not ready, send workers away, let runs and requests finish.

        Returns when the last worker connection is gone and nothing is in progress, at most
        `Timing.drain` and a few cleanup deadlines later; what is in progress then is handed
        over, see `connect.rpc.Executor.drain`. Until then the gateway's port answers: not
        ready, and that the gateway closes; and the API's, which takes no new runs. Everything
        else of the service goes on until the block of `open_service` ends.
        """
        if self._stopping:
            return
        self._stopping = True
        self.deadline = trio.current_time() + self.settings.timing.drain
        runs = 0
        if self.runner is not None:
            self.runner.close()
            runs = self.runner.running
        requests = 0 if self.executor is None else self.executor.in_progress
        self._log.info("stopping", runs=runs, requests=requests)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._finish)
            if self.gateway is not None:
                await self.gateway.drain()
        self.accepting.cancel()

    async def _finish(self) -> None:
        """Wait for runs and requests, up to the deadline; end those that are left."""
        runner, executor = self.runner, self.executor
        if runner is not None:
            # Until they are over, runs go on making requests.
            with trio.CancelScope(deadline=self.deadline):
                await runner.become_idle()
        if executor is not None:
            await executor.drain(max(0.0, self.deadline - trio.current_time()))
        if runner is not None:
            # Not earlier: a request whose run is cancelled counts as withdrawn.
            runner.end()
            await runner.become_idle()
