"""The worker API: where connections begin, and where replies go when none is left."""

from collections.abc import Iterable
from urllib.parse import quote, urlsplit

import httpx

from connect.errors import ConfigurationError, MalformedMessage
from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb
from connect.protocol.tokens import hash_signing_key
from connect.worker.errors import ConnectionFailed, ReplyTooLarge, WorkerError
from connect.worker.refusal import asked_in_headers, error_text

__all__ = ["WorkerApi"]

_REFUSED = frozenset({401, 403})
# Answers by which the API says that no other attempt will do better: all others may come from
# something between, or from an API that is being replaced.
_NEVER = frozenset({400, 422})
_TOO_LARGE = 413


class WorkerApi:
    """A client of the worker API (Connect protocol, sections 1 and 3).

    Args:
        url: its base, such as ``http://127.0.0.1:8288``.
        signing_key: ``signkey-<env>-<hex>``; only its hash is ever sent.
        env: a branch environment's name.
        instance_id: whose replies are flushed; None leaves that open.
        timeout: seconds for one request.

    Raises:
        ConfigurationError: the URL is not one of http or https, or the key is malformed.
    """

    def __init__(
        self,
        url: str,
        *,
        signing_key: str | None,
        env: str | None,
        instance_id: str | None = None,
        timeout: float,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"not the URL of a worker API: {url!r}")
        self.url = url.rstrip("/")
        # Calls are rare, and an idle connection costs the API more than the worker's WebSocket
        # costs the gateway.
        headers = {"content-type": "application/protobuf", "connection": "close"}
        if signing_key is not None:
            headers["authorization"] = f"Bearer {hash_signing_key(signing_key)}"
        if env is not None:
            headers["x-inngest-env"] = env
        if instance_id is not None:
            # By this the API knows replies to requests that another worker has meanwhile.
            headers["x-connect-instance"] = quote(instance_id, safe="")
        self._headers = headers
        self._timeout = timeout

    def client(self) -> httpx.AsyncClient:
        """An HTTP client for the calls below, to be entered by the caller; workers may share it.

        It takes no proxy from the environment: the WebSocket could not follow.
        """
        return httpx.AsyncClient(
            trust_env=False,
            # Certificates take 20 ms to load: not for plain HTTP, which has none to check.
            verify=self.url.startswith("https:"),
        )

    async def start(
        self, client: httpx.AsyncClient, exclude_gateways: Iterable[str]
    ) -> pb.StartResponse:
        """Ask for a gateway to connect to.

        Args:
            exclude_gateways: gateway groups to avoid while there is another.

        Raises:
            WorkerError: the API refuses the signing key, or its absence.
            ConnectionFailed: anything else went wrong; it has the ``Retry-After`` of the
                answer.
        """
        request = pb.StartRequest(exclude_gateways=list(exclude_gateways))
        answer = await self._post(client, "start", bytes(request))
        if answer.status_code in _REFUSED:
            raise WorkerError(f"{self.url} refuses the signing key: {_error_text(answer)}")
        if answer.status_code != httpx.codes.OK:
            raise ConnectionFailed(
                f"{self.url} answered {answer.status_code}: {_error_text(answer)}",
                retry_after=asked_in_headers(answer.headers),
            )
        try:
            started = decode(pb.StartResponse, answer.content)
        except MalformedMessage as error:
            raise ConnectionFailed(f"{self.url} answered something else: {error}") from error
        if not _is_websocket_url(started.gateway_endpoint):
            raise ConnectionFailed(
                f"{self.url} named no WebSocket URL: {started.gateway_endpoint!r}",
                gateway_group=started.gateway_group,
            )
        return started

    async def flush(self, client: httpx.AsyncClient, reply: bytes) -> bool:
        """Deliver a reply.

        Args:
            reply: the bytes of an SDKResponse.

        Returns:
            True when it was taken; False when it never will be.

        Raises:
            ReplyTooLarge: it never will be, for its size.
            ConnectionFailed: it was not taken now, but may be later.
        """
        answer = await self._post(client, "flush", reply)
        if answer.is_success:
            return True
        if answer.status_code == _TOO_LARGE:
            raise ReplyTooLarge(f"{self.url} answered 413: {_error_text(answer)}")
        if answer.status_code in _NEVER:
            return False
        raise ConnectionFailed(f"{self.url} answered {answer.status_code}: {_error_text(answer)}")

    async def _post(self, client: httpx.AsyncClient, call: str, body: bytes) -> httpx.Response:
        """Raises ConnectionFailed when there is no answer."""
        try:
            return await client.post(
                f"{self.url}/v0/connect/{call}",
                content=body,
                headers=self._headers,
                timeout=self._timeout,
            )
        except httpx.HTTPError as error:
            raise ConnectionFailed(f"no answer from {self.url}: {_text_of(error)}") from error


def _is_websocket_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _text_of(error: Exception) -> str:
    return str(error) or type(error).__name__


def _error_text(answer: httpx.Response) -> str:
    return error_text(answer.content) or answer.reason_phrase
