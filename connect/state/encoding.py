"""The JSON forms of the records, as every process that shares the store writes them.

A field that is empty, zero or absent is left out, unless the shared table of values
marks it as always present. Readers ignore fields they don't know, take null for
absent, and take the fields that only we write as optional.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from connect.errors import ConnectError
from connect.state.records import (
    AppRecord,
    ConnectionRecord,
    ConnectionStatus,
    GatewayRecord,
    GatewayStatus,
    GroupRecord,
    LeaseRecord,
    WorkerAttributes,
)

__all__ = [
    "BadRecord",
    "decode_app",
    "decode_connection",
    "decode_gateway",
    "decode_group",
    "decode_lease",
    "encode_app",
    "encode_connection",
    "encode_gateway",
    "encode_group",
    "encode_heartbeat",
    "encode_lease",
    "readable",
]

R = TypeVar("R")

_MS = 1000
_NANOS_PER_MS = 1_000_000


class BadRecord(ConnectError, ValueError):
    """A stored value that cannot be read; callers that list many skip it.

    Attributes:
        kind: what it should have been: connection, group, gateway, lease, app.
        detail: what is wrong with it.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return f"stored {self.kind} cannot be read: {self.detail}"


def readable(decode: Callable[[bytes], R], values: Iterable[bytes | None]) -> list[R]:
    """Decode the values that are there and can be read; skip the others."""
    records: list[R] = []
    for value in values:
        if value is None:
            continue
        try:
            records.append(decode(value))
        except BadRecord:
            continue
    return records


class _Fields:
    """The fields of one JSON object, read with their types checked."""

    __slots__ = ("_fields", "_kind")

    def __init__(self, kind: str, fields: Mapping[str, Any]) -> None:
        self._kind = kind
        self._fields = fields

    @classmethod
    def parse(cls, kind: str, value: bytes | str) -> "_Fields":
        try:
            text = value if isinstance(value, str) else value.decode()
            fields = json.loads(text)
            if "\\ud" in text or "\\uD" in text:
                # Half of a surrogate pair is no text, and can be the name of no key.
                json.dumps(fields, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise BadRecord(kind, f"not JSON ({error})") from error
        if not isinstance(fields, dict):
            raise BadRecord(kind, "not a JSON object")
        return cls(kind, fields)

    def bad(self, name: str, expected: str) -> BadRecord:
        return BadRecord(self._kind, f"{name} should be {expected}")

    def text(self, name: str) -> str:
        value = self._fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.bad(name, "a string")
        return value

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise self.bad(name, "present")
        return value

    def integer(self, name: str) -> int:
        value = self._fields.get(name)
        if value is None:
            return 0
        if type(value) is not int:
            raise self.bad(name, "an integer")
        return value

    def fields(self, name: str) -> "_Fields":
        value = self._fields.get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.bad(name, "an object")
        return _Fields(self._kind, value)

    def text_map(self, name: str) -> dict[str, str]:
        inner = self.fields(name)
        return {key: inner.text(key) for key in inner._fields}

    def items(self, name: str, kind: type[R], expected: str) -> tuple[R, ...]:
        value = self._fields.get(name)
        if value is None or value == {}:  # Lua writes an empty list as an empty object
            return ()
        if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
            raise self.bad(name, expected)
        return tuple(value)


def _dump(always: Mapping[str, Any], unless_empty: Mapping[str, Any]) -> str:
    fields = dict(always)
    fields.update((name, value) for name, value in unless_empty.items() if value)
    return json.dumps(fields, separators=(",", ":"))


def _heartbeat(unix_ms: int) -> dict[str, int]:
    seconds, ms = divmod(unix_ms, _MS)
    heartbeat = {"seconds": seconds, "nanos": ms * _NANOS_PER_MS}
    return {name: value for name, value in heartbeat.items() if value}


def encode_heartbeat(unix_ms: int) -> str:
    """Return the JSON of a connection's ``last_heartbeat_at``; empty where it is left out."""
    heartbeat = _heartbeat(unix_ms)
    return json.dumps(heartbeat, separators=(",", ":")) if heartbeat else ""


def encode_connection(record: ConnectionRecord) -> str:
    attributes = record.attributes
    machine = {
        "cpu_cores": attributes.cpu_cores,
        "mem_bytes": attributes.mem_bytes,
        "os": attributes.os,
    }
    return _dump(
        {},
        {
            "id": record.id,
            "gateway_id": record.gateway_id,
            "instance_id": record.instance_id,
            "all_worker_groups": dict(record.groups),
            "synced_worker_groups": dict(record.synced_groups),
            "status": int(record.status),
            "last_heartbeat_at": _heartbeat(record.last_heartbeat_ms),
            "sdk_language": record.sdk_language,
            "sdk_version": record.sdk_version,
            "attributes": {name: value for name, value in machine.items() if value},
        },
    )


def decode_connection(value: bytes | str) -> ConnectionRecord:
    """Read a connection.

    Raises:
        BadRecord: it is not one.
    """
    fields = _Fields.parse("connection", value)
    heartbeat = fields.fields("last_heartbeat_at")
    machine = fields.fields("attributes")
    try:
        status = ConnectionStatus(fields.integer("status"))
    except ValueError as error:
        raise fields.bad("status", "a known number") from error
    return ConnectionRecord(
        id=fields.required("id"),
        gateway_id=fields.text("gateway_id"),
        instance_id=fields.text("instance_id"),
        groups=fields.text_map("all_worker_groups"),
        synced_groups=fields.text_map("synced_worker_groups"),
        status=status,
        last_heartbeat_ms=heartbeat.integer("seconds") * _MS
        + heartbeat.integer("nanos") // _NANOS_PER_MS,
        sdk_language=fields.text("sdk_language"),
        sdk_version=fields.text("sdk_version"),
        attributes=WorkerAttributes(
            cpu_cores=machine.integer("cpu_cores"),
            mem_bytes=machine.integer("mem_bytes"),
            os=machine.text("os"),
        ),
    )


def encode_group(record: GroupRecord, *, mergeable: bool = True) -> str:
    """Return the group's JSON.

    Args:
        mergeable: False leaves out the fields that the stored group may already
            have: app id, sync id, hash of the feature observations, creation time.
    """
    merged = {
        "app_id": record.app_id,
        "sync_id": record.sync_id,
        "feature_observations_hash": record.feature_observations_hash,
    }
    always = {
        "acct_id": record.account_id,
        "env_id": record.env_id,
        "app_name": record.app_name,
        "sdk_lang": record.sdk_language,
        "sdk_version": record.sdk_version,
        "sdk_platform": record.sdk_platform,
        "fns": list(record.functions),
        "hash": record.hash,
    }
    if not mergeable:
        return _dump(always, {"app_version": record.app_version})
    always["created_at"] = record.created_at
    return _dump(always, {"app_version": record.app_version} | merged)


def decode_group(value: bytes | str) -> GroupRecord:
    """Read a worker group.

    Raises:
        BadRecord: it is not one.
    """
    fields = _Fields.parse("group", value)
    return GroupRecord(
        account_id=fields.text("acct_id"),
        env_id=fields.text("env_id"),
        app_id=fields.text("app_id"),
        app_name=fields.text("app_name"),
        app_version=fields.text("app_version"),
        sdk_language=fields.text("sdk_lang"),
        sdk_version=fields.text("sdk_version"),
        sdk_platform=fields.text("sdk_platform"),
        functions=fields.items("fns", str, "a list of strings"),
        sync_id=fields.text("sync_id"),
        hash=fields.required("hash"),
        feature_observations_hash=fields.text("feature_observations_hash"),
        created_at=fields.text("created_at"),
    )


def encode_gateway(record: GatewayRecord) -> str:
    return _dump(
        {
            "id": record.id,
            "status": record.status.value,
            "last_heartbeat": record.last_heartbeat_ms,
            "hostname": record.hostname,
            "ip": record.ip,
        },
        {
            "grpc_port": record.grpc_port,
            "port": record.port,
            "group": record.group,
            "endpoint": record.endpoint,
            "version": record.version,
            "connections": record.connections,
            "admin": record.admin,
        },
    )


def decode_gateway(value: bytes | str) -> GatewayRecord:
    """Read a gateway.

    Raises:
        BadRecord: it is not one.
    """
    fields = _Fields.parse("gateway", value)
    try:
        status = GatewayStatus(fields.required("status"))
    except ValueError as error:
        raise fields.bad("status", "starting, active or draining") from error
    return GatewayRecord(
        id=fields.required("id"),
        status=status,
        last_heartbeat_ms=fields.integer("last_heartbeat"),
        hostname=fields.text("hostname"),
        ip=fields.text("ip"),
        grpc_port=fields.integer("grpc_port"),
        port=fields.integer("port"),
        group=fields.text("group"),
        endpoint=fields.text("endpoint"),
        version=fields.text("version"),
        connections=fields.integer("connections"),
        admin=fields.text("admin"),
    )


def encode_lease(record: LeaseRecord) -> str:
    return _dump(
        {"leaseID": record.id, "executorIP": record.executor_host},
        {
            "prevLeaseID": record.previous_id,
            "workerID": record.worker_id,
            "executorPort": record.executor_port,
        },
    )


def decode_lease(value: bytes | str) -> LeaseRecord:
    """Read a lease.

    Raises:
        BadRecord: it is not one.
    """
    fields = _Fields.parse("lease", value)
    return LeaseRecord(
        id=fields.required("leaseID"),
        previous_id=fields.text("prevLeaseID"),
        worker_id=fields.text("workerID"),
        executor_host=fields.text("executorIP"),
        executor_port=fields.integer("executorPort"),
    )


def encode_app(record: AppRecord) -> str:
    return _dump(
        {"id": record.id, "name": record.name, "functions": list(record.functions)},
        {
            "sync_id": record.sync_id,
            "version": record.version,
            "sdk_lang": record.sdk_language,
            "sdk_version": record.sdk_version,
            "synced_at": record.synced_at_ms,
        },
    )


def decode_app(value: bytes | str) -> AppRecord:
    """Read an app of the built-in registry.

    Raises:
        BadRecord: it is not one.
    """
    fields = _Fields.parse("app", value)
    return AppRecord(
        id=fields.required("id"),
        name=fields.text("name"),
        sync_id=fields.text("sync_id"),
        functions=fields.items("functions", dict, "a list of objects"),
        version=fields.text("version"),
        sdk_language=fields.text("sdk_lang"),
        sdk_version=fields.text("sdk_version"),
        synced_at_ms=fields.integer("synced_at"),
    )
