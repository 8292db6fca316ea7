"""Registration of apps at an outer API, in place of the built-in registry.

The API is asked again while another registration of the app is pending; its refusal is the
worker's to hear (Connect protocol, section 3).
"""

import json
import random
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote
from weakref import WeakValueDictionary

import structlog
import trio

from connect.config.functions import RegisteredFunction
from connect.errors import RegistrationUnavailable, Syscode, SyscodeError
from connect.protocol.messages.connect import v1 as pb
from connect.state.records import GroupRecord

__all__ = ["RegisterApi", "Registered", "Registration", "SyncRefused", "WorkerSync"]

ATTEMPTS = 10

# The first pause before the API is asked again, in seconds; it doubles up to the longest.
# Each is cut by up to a half, at random, so that gateways that wait for the same
# registration don't ask together.
PAUSE_MIN = 0.1
PAUSE_MAX = 1.0

_PENDING = "sync_already_pending"

# A syscode becomes a close reason, which has room for this many bytes (RFC 6455, 5.5).
_LONGEST_CODE = 123
_LONGEST_MESSAGE = 4096
_LONGEST_QUOTE = 200

# What may stand in a header after "Bearer".
_TOKEN = re.compile(r"[\x21-\x7e]*")

_log = structlog.get_logger(__name__)


class RegisterApi(Protocol):
    """The way to the API: implemented by an HTTP client."""

    async def register(self, body: bytes, *, token: str, sdk: str, env: str) -> tuple[int, bytes]:
        """Make one ``POST /fn/register``.

        Args:
            body: JSON.
            token: the bearer token; without one, no Authorization header is sent.
            sdk: language and version, ``py:0.5.0``.
            env: a branch environment's name, or "".

        Returns:
            The answer's status and body.

        Raises:
            RegistrationUnavailable: there was no answer, or none to be read.
        """
        ...


class SyncRefused(SyscodeError):
    """The API refuses an app; the worker is told by SYNC_FAILED (Connect protocol, section 3)."""


@dataclass(frozen=True, slots=True)
class Registered:
    """An app as the API knows it: two UUIDs."""

    app_id: str
    sync_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSync:
    """What a worker brings along for the registration of its apps.

    Attributes:
        token: the sync token of the worker's session.
        env: a branch environment's name, or "".
        capabilities: a JSON value.
        deadline: the latest moment (Trio clock) to have them all registered.
    """

    token: str
    env: str
    capabilities: Any
    deadline: float

    @classmethod
    def of(cls, hello: pb.WorkerConnectRequestData, *, deadline: float) -> "WorkerSync":
        """Read it from a WORKER_CONNECT.

        Raises:
            SyscodeError: the sync token cannot stand in a header, or the capabilities
                are not JSON.
        """
        token = hello.auth_data.sync_token
        if not _TOKEN.fullmatch(token):
            raise SyscodeError(
                Syscode.AUTHENTICATION_FAILED, "the sync token has characters no token may have"
            )
        try:
            capabilities = json.loads(hello.capabilities or b"{}")
        except (ValueError, RecursionError) as error:
            raise SyscodeError(
                Syscode.HELLO_INVALID_PAYLOAD, f"the capabilities are not JSON: {error}"
            ) from error
        return cls(
            token=token,
            env=hello.environment or "",
            capabilities=capabilities,
            deadline=deadline,
        )


@dataclass(frozen=True, slots=True)
class _Refusal:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class _Pending:
    """Another registration of the app is under way, or the answer had no body."""

    said: str


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Flight:
    """One registration that several workers of a group wait for."""

    lock: trio.Lock = field(default_factory=trio.Lock)
    outcome: Registered | _Refusal | None = None


class Registration:
    """Registers apps at an API for all connections of a gateway.

    Workers of one group that come together share one registration.

    Args:
        api: the way there.
        at_once: requests in progress at the same time (`Limits.registrations`).
        development: whether workers need no signing key; app names then travel in the URL.
    """

    def __init__(self, api: RegisterApi, *, at_once: int, development: bool) -> None:
        self._api = api
        self._slots = trio.CapacityLimiter(max(1, at_once))
        self._development = development
        self._flights: WeakValueDictionary[tuple[str, ...], _Flight] = WeakValueDictionary()

    async def register(
        self, group: GroupRecord, functions: Sequence[RegisteredFunction], worker: WorkerSync
    ) -> Registered:
        """Register the app of a group.

        Cancelled, the API may have registered it all the same; the group's hash makes
        the next registration the same one.

        Raises:
            SyncRefused: the API does not take the app.
            RegistrationUnavailable: the API could not be asked, answers something else, or
                the app was still pending after 10 attempts or at the worker's deadline.
        """
        # Kept alive by those who wait; whoever comes later finds the group synced.
        key = (group.env_id, group.app_name, group.hash, worker.token)
        flight = self._flights.setdefault(key, _Flight())
        said = "no answer yet"
        with trio.move_on_at(worker.deadline):
            async with flight.lock:
                for attempt in range(ATTEMPTS):
                    if flight.outcome is not None:
                        return _outcome(flight.outcome)
                    if attempt:
                        await trio.sleep(_pause(attempt))
                    answer = await self._ask(group, functions, worker)
                    if isinstance(answer, _Pending):
                        said = answer.said
                        _log.info("registration pending", app=group.app_name, reason=said)
                    else:
                        flight.outcome = answer
                        return _outcome(answer)
                raise RegistrationUnavailable(
                    f"app {group.app_name!r} is not registered after {ATTEMPTS} attempts: {said}"
                )
        raise RegistrationUnavailable(
            f"app {group.app_name!r} is not registered by the deadline (timing.register): {said}"
        )

    async def _ask(
        self, group: GroupRecord, functions: Sequence[RegisteredFunction], worker: WorkerSync
    ) -> Registered | _Refusal | _Pending:
        sdk = f"{group.sdk_language}:{group.sdk_version}"
        async with self._slots:
            status, body = await self._api.register(
                self._body(group, functions, worker, sdk),
                token=worker.token,
                sdk=sdk,
                env=worker.env,
            )
        return _read(status, body)

    def _body(
        self,
        group: GroupRecord,
        functions: Sequence[RegisteredFunction],
        worker: WorkerSync,
        sdk: str,
    ) -> bytes:
        name = f"?app_name={quote(group.app_name, safe='')}" if self._development else ""
        said: dict[str, Any] = {
            "v": "1",
            "url": f"ws://connect{name}",
            "deployType": "connect",
            "sdk": sdk,
            "appName": group.app_name,
            "functions": [function.definition for function in functions],
            "capabilities": worker.capabilities,
            "headers": {"env": worker.env, "platform": group.sdk_platform},
            "idempotencyKey": group.hash,
        }
        if group.app_version:
            said["appVersion"] = group.app_version
        return json.dumps(said, separators=(",", ":")).encode()


def _outcome(answer: Registered | _Refusal) -> Registered:
    if isinstance(answer, _Refusal):
        raise SyncRefused(answer.code, answer.message)
    return answer


def _pause(attempt: int) -> float:
    """Return the seconds to wait before an attempt, of which the first is number 0."""
    longest: float = min(PAUSE_MAX, PAUSE_MIN * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)


def _read(status: int, body: bytes) -> Registered | _Refusal | _Pending:
    """Say what an answer means.

    Raises:
        RegistrationUnavailable: it means nothing known, or that the API failed.
    """
    if not body.strip():
        return _Pending(f"the API answered {status} without a body")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        shown = body[:_LONGEST_QUOTE].decode(errors="replace")
        raise RegistrationUnavailable(
            f"the registration API answered {status}, not a JSON object: {shown!r}"
        )
    code = said.get("code")
    if code == _PENDING:
        return _Pending(f"the API answered {_PENDING}")
    if isinstance(code, str) and code:
        return _refusal(code, said)
    if said.get("ok") is not True:
        reason = _text(said.get("error")) or _text(said.get("message")) or "without a reason"
        raise RegistrationUnavailable(
            f"the registration API answered {status}, not registered: {reason}"
        )
    return Registered(_uuid(said, "app_id"), _uuid(said, "sync_id"))


def _uuid(said: dict[str, Any], name: str) -> str:
    try:
        return str(uuid.UUID(_text(said.get(name))))
    except ValueError:
        shown = repr(said.get(name))[:_LONGEST_QUOTE]
        raise RegistrationUnavailable(
            f"the registration API answered {name} {shown}, not a UUID"
        ) from None


def _refusal(code: str, said: dict[str, Any]) -> _Refusal:
    message = _text(said.get("message")) or _text(said.get("error"))
    if len(code.encode(errors="replace")) > _LONGEST_CODE or not code.isprintable():
        message = f"{code[:_LONGEST_QUOTE]}: {message}" if message else code[:_LONGEST_QUOTE]
        code = str(Syscode.INVALID_FUNCTION_CONFIG)
    return _Refusal(code, message or "the registration API gives no reason")


def _text(value: object) -> str:
    return value[:_LONGEST_MESSAGE] if isinstance(value, str) else ""
