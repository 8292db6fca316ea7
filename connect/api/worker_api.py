"""The worker API: opening a connection, and the way around a broken one for replies."""

import random
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import unquote

import structlog
import trio
from starlette.requests import Request
from starlette.responses import Response
from structlog.typing import FilteringBoundLogger
from ulid import ULID

from connect.api.endpoints import choose_gateway, gateway_endpoint
from connect.api.http import (
    CLIENT_CLOSED_REQUEST,
    STORE_UNAVAILABLE,
    Access,
    ApiError,
    protobuf_response,
    read_body,
)
from connect.api.latest_gateways import LatestGateways
from connect.errors import MalformedMessage, StoreUnavailable, Syscode
from connect.logs import SparseLog
from connect.metrics import Metrics
from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import SessionTokens
from connect.settings import Listen, Settings
from connect.state.records import GatewayRecord, GatewayStatus, LeaseRecord
from connect.state.store import StateStore

__all__ = ["ReplySender", "WorkerApi"]

_log = structlog.get_logger(__name__)

# When a worker may ask again that finds its account at its limit.
_ACCOUNT_FULL_SECONDS = "10"

# When a worker may ask again that comes together with too many others: after some of these, so
# that those who are told at the same time don't come together again.
_BUSY_SECONDS = range(1, 4)

# Between two lines in the log about starts refused for the same reason, in seconds.
_LOG_SECONDS = 10.0

_EXECUTOR_PORT = Listen().executor_rpc_port  # of executors that write none into a lease


class ReplySender(Protocol):
    """Brings replies to executors."""

    async def reply(self, host: str, port: int, response: bytes) -> bool:
        """Push an encoded SDKResponse to an executor; False if it did not get there."""
        ...


class WorkerApi:
    """``POST /v0/connect/start`` and ``POST /v0/connect/flush`` (Connect protocol, section 3).

    Args:
        replies: bounds what it has in progress.
        nursery: where flushed replies are pushed, after their workers have their answers.
        sample: picks random gateways.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        settings: Settings,
        access: Access,
        tokens: SessionTokens,
        replies: ReplySender,
        metrics: Metrics,
        nursery: trio.Nursery,
        now: Callable[[], float],
        sample: Callable[[Sequence[GatewayRecord], int], Sequence[GatewayRecord]] = random.sample,
    ) -> None:
        self._store = store
        self._gateways = LatestGateways(store.gateways.all)
        self._starts = 0
        self._settings = settings
        self._access = access
        self._tokens = tokens
        self._replies = replies
        self._refused = metrics.starts_refused
        self._log = SparseLog(_LOG_SECONDS)
        self._nursery = nursery
        self._now = now
        self._sample = sample

    async def start(self, request: Request) -> Response:
        """Send a worker to a gateway, with a token for it; count and log who is refused."""
        try:
            return await self._start(request)
        except ApiError as error:
            if error.status != CLIENT_CLOSED_REQUEST:
                self._note_refusal(error.code or str(error.status), error.message)
            raise
        except StoreUnavailable as error:
            self._note_refusal(STORE_UNAVAILABLE, str(error))
            raise

    def _note_refusal(self, code: str, reason: str) -> None:
        self._refused.labels(code).inc()
        self._log.warning("start refused", kind=code, code=code, reason=reason)

    async def _start(self, request: Request) -> Response:
        sync_token = self._access.presented(request)
        body = await read_body(request, self._settings.limits.start_body_bytes)
        limit = self._settings.limits.starts
        if limit and self._starts >= limit:
            raise ApiError(
                503,
                f"{self._starts} workers are being sent to gateways, which is the limit",
                code="too_many_starts",
                headers={"Retry-After": str(random.choice(_BUSY_SECONDS))},
            )
        self._starts += 1
        try:
            return await self._send_to_gateway(request, body, sync_token)
        finally:
            self._starts -= 1

    async def _send_to_gateway(self, request: Request, body: bytes, sync_token: str) -> Response:
        settings, now = self._settings, self._now()
        try:
            asked = decode(pb.StartRequest, body)
        except MalformedMessage as error:
            raise ApiError(400, f"the body is {error}", code="invalid_body") from error
        gateways = await self._gateways.read()
        oldest_heartbeat_ms = (now - 2 * settings.timing.gateway_heartbeat) * 1000
        self._check_account(gateways, oldest_heartbeat_ms)
        gateway = choose_gateway(
            gateways,
            asked.exclude_gateways,
            oldest_heartbeat_ms=oldest_heartbeat_ms,
            sample=self._sample,
        )
        if gateway is None:
            raise ApiError(503, "no gateway is available", code="no_gateway_available")
        try:
            endpoint = gateway_endpoint(
                gateway,
                public_url=settings.listen.gateway_url,
                host_header=request.headers.get("host"),
                secure=_came_by_tls(request),
            )
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        response = pb.StartResponse(
            connection_id=str(ULID.from_timestamp(now)),
            gateway_endpoint=endpoint,
            gateway_group=gateway.group,
            session_token=self._tokens.issue(
                settings.tenant.account_id,
                settings.tenant.env_id,
                apps_per_connection=settings.limits.apps_per_connection,
            ),
            sync_token=sync_token,
        )
        return protobuf_response(bytes(response))

    def _check_account(self, gateways: Sequence[GatewayRecord], oldest_heartbeat_ms: float) -> None:
        """Refuse a worker whose account is at its limit (Connect protocol, section 3).

        A deployment has one account: its connections are those of all gateways that are alive.
        Those of a draining one are on their way to the others.
        """
        limit = self._settings.limits.connections_per_account
        connected = sum(
            gateway.connections
            for gateway in gateways
            if gateway.status is GatewayStatus.ACTIVE
            and gateway.last_heartbeat_ms >= oldest_heartbeat_ms
        )
        if limit and connected >= limit:
            raise ApiError(
                429,
                f"the account has {connected} connections; {limit} may be",
                code=Syscode.ACCOUNT_FULL,
                headers={"Retry-After": _ACCOUNT_FULL_SECONDS},
            )

    async def flush(self, request: Request) -> Response:
        """Take a reply that its worker could not bring over its socket.

        It is saved as a reply over the socket is, then confirmed, and pushed to the executor
        that waits for it; without the push, the executor finds it in the buffer. A reply that
        nobody waits for is confirmed, and nothing else; so is one to a request that another
        worker has, where the sender says who it is (``X-Connect-Instance``): it is to give
        the reply up. The message itself does not tell.
        """
        self._access.presented(request)
        body = await read_body(request, self._settings.limits.message_bytes)
        try:
            response = decode(pb.SdkResponse, body)
        except MalformedMessage as error:
            raise ApiError(400, f"the body is {error}", code="invalid_body") from error
        if not response.request_id:
            raise ApiError(400, "the response has no request id", code="invalid_body")
        if response.env_id != self._settings.tenant.env_id:
            status = 403 if response.env_id else 400
            raise ApiError(status, f"the environment {response.env_id!r} is not this one")
        instance_id = unquote(request.headers.get("x-connect-instance", ""))
        saved = await self._store.responses.save(
            response.env_id, response.request_id, body, instance_id=instance_id, running=False
        )
        log = _log.bind(request_id=response.request_id)
        if saved.refused is not None:
            log.info("flushed reply not kept", why=saved.refused.name.lower())
        elif not saved.first:
            log.info("reply flushed again; the first one stays")
        elif saved.lease is not None and saved.lease.executor_host:
            self._nursery.start_soon(self._push, saved.lease, body, log)
        return protobuf_response(bytes(pb.FlushResponse(request_id=response.request_id)))

    async def _push(self, lease: LeaseRecord, response: bytes, log: FilteringBoundLogger) -> None:
        port = lease.executor_port or _EXECUTOR_PORT
        pushed = False
        try:
            with trio.move_on_after(self._settings.timing.rpc):
                pushed = await self._replies.reply(lease.executor_host, port, response)
        except Exception:  # the last resort: one push fails, not the service
            log.exception("unforeseen failure of a push")
        if not pushed:
            log.info("flushed reply not pushed; its executor will find it")


def _came_by_tls(request: Request) -> bool:
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    return request.url.scheme == "https" or forwarded in ("https", "wss")
