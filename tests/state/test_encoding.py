"""JSON forms: exactly the fields of the shared table, and forgiving readers."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.state import encoding
from connect.state.encoding import BadRecord
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

TEXT = st.text(max_size=20)
NAME = st.text(min_size=1, max_size=20)
MAP = st.dictionaries(TEXT, TEXT, max_size=3)
NUMBER = st.integers(0, 2**53)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)

CONNECTIONS = st.builds(
    ConnectionRecord,
    id=NAME,
    gateway_id=TEXT,
    instance_id=TEXT,
    groups=MAP,
    synced_groups=MAP,
    status=st.sampled_from(ConnectionStatus),
    last_heartbeat_ms=NUMBER,
    sdk_language=TEXT,
    sdk_version=TEXT,
    attributes=st.builds(WorkerAttributes, cpu_cores=NUMBER, mem_bytes=NUMBER, os=TEXT),
)
GROUPS = st.builds(
    GroupRecord,
    account_id=TEXT,
    env_id=TEXT,
    app_name=TEXT,
    hash=NAME,
    created_at=TEXT,
    functions=st.lists(TEXT, max_size=3).map(tuple),
    app_id=TEXT,
    app_version=TEXT,
    sdk_language=TEXT,
    sdk_version=TEXT,
    sdk_platform=TEXT,
    sync_id=TEXT,
    feature_observations_hash=TEXT,
)
GATEWAYS = st.builds(
    GatewayRecord,
    id=NAME,
    status=st.sampled_from(GatewayStatus),
    last_heartbeat_ms=NUMBER,
    hostname=TEXT,
    ip=TEXT,
    grpc_port=NUMBER,
    port=NUMBER,
    group=TEXT,
    endpoint=TEXT,
    version=TEXT,
    connections=NUMBER,
)
LEASES = st.builds(
    LeaseRecord,
    id=NAME,
    executor_host=TEXT,
    executor_port=NUMBER,
    previous_id=TEXT,
    worker_id=TEXT,
)
APPS = st.builds(
    AppRecord,
    id=NAME,
    name=TEXT,
    sync_id=TEXT,
    functions=st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=2).map(tuple),
    version=TEXT,
    sdk_language=TEXT,
    sdk_version=TEXT,
    synced_at_ms=NUMBER,
)


@given(CONNECTIONS)
def test_connection_survives_being_stored(record: ConnectionRecord) -> None:
    assert encoding.decode_connection(encoding.encode_connection(record)) == record


@given(GROUPS)
def test_group_survives_being_stored(record: GroupRecord) -> None:
    assert encoding.decode_group(encoding.encode_group(record)) == record


@given(GATEWAYS)
def test_gateway_survives_being_stored(record: GatewayRecord) -> None:
    assert encoding.decode_gateway(encoding.encode_gateway(record)) == record


@given(LEASES)
def test_lease_survives_being_stored(record: LeaseRecord) -> None:
    assert encoding.decode_lease(encoding.encode_lease(record)) == record


@given(APPS)
def test_app_survives_being_stored(record: AppRecord) -> None:
    assert encoding.decode_app(encoding.encode_app(record)) == record


def test_connection_has_exactly_the_shared_fields() -> None:
    record = ConnectionRecord(
        id="c",
        gateway_id="g",
        instance_id="i",
        groups={"app": "h"},
        synced_groups={"id": "h"},
        status=ConnectionStatus.READY,
        last_heartbeat_ms=1_754_300_000_123,
        sdk_language="go",
        sdk_version="1",
        attributes=WorkerAttributes(cpu_cores=2, mem_bytes=3, os="linux"),
    )
    assert json.loads(encoding.encode_connection(record)) == {
        "id": "c",
        "gateway_id": "g",
        "instance_id": "i",
        "all_worker_groups": {"app": "h"},
        "synced_worker_groups": {"id": "h"},
        "status": 1,
        "last_heartbeat_at": {"seconds": 1_754_300_000, "nanos": 123_000_000},
        "sdk_language": "go",
        "sdk_version": "1",
        "attributes": {"cpu_cores": 2, "mem_bytes": 3, "os": "linux"},
    }


def test_empty_fields_of_a_connection_are_left_out() -> None:
    record = ConnectionRecord(id="c", gateway_id="", instance_id="", last_heartbeat_ms=2000)
    assert json.loads(encoding.encode_connection(record)) == {
        "id": "c",
        "last_heartbeat_at": {"seconds": 2},
    }


def test_group_always_has_the_fields_that_are_marked_so() -> None:
    record = GroupRecord(account_id="", env_id="", app_name="", hash="h", created_at="")
    assert json.loads(encoding.encode_group(record)) == {
        "acct_id": "",
        "env_id": "",
        "app_name": "",
        "sdk_lang": "",
        "sdk_version": "",
        "sdk_platform": "",
        "fns": [],
        "hash": "h",
        "created_at": "",
    }


def test_gateway_always_has_the_fields_that_are_marked_so() -> None:
    record = GatewayRecord(
        id="g", status=GatewayStatus.DRAINING, last_heartbeat_ms=0, hostname="", ip=""
    )
    assert json.loads(encoding.encode_gateway(record)) == {
        "id": "g",
        "status": "draining",
        "last_heartbeat": 0,
        "hostname": "",
        "ip": "",
    }


def test_lease_always_has_the_fields_that_are_marked_so() -> None:
    record = LeaseRecord(id="l", executor_host="")
    assert json.loads(encoding.encode_lease(record)) == {"leaseID": "l", "executorIP": ""}


def test_full_lease_has_exactly_the_shared_fields_and_our_port() -> None:
    record = LeaseRecord(id="l", executor_host="h", executor_port=1, previous_id="p", worker_id="w")
    assert json.loads(encoding.encode_lease(record)) == {
        "leaseID": "l",
        "prevLeaseID": "p",
        "workerID": "w",
        "executorIP": "h",
        "executorPort": 1,
    }


@pytest.mark.parametrize(
    ("decode", "smallest"),
    [
        (encoding.decode_connection, {"id": "x"}),
        (encoding.decode_group, {"hash": "x"}),
        (encoding.decode_gateway, {"id": "x", "status": "active"}),
        (encoding.decode_lease, {"leaseID": "x"}),
        (encoding.decode_app, {"id": "x"}),
    ],
)
def test_readers_ignore_unknown_fields_and_take_null_for_absent(
    decode: Callable[[str], object], smallest: dict[str, str]
) -> None:
    generous = smallest | {"unknown": [1], "group": None, "fns": None, "attributes": None}
    assert decode(json.dumps(generous)) == decode(json.dumps(smallest))


def test_functions_that_lua_wrote_as_an_empty_object_are_none() -> None:
    assert encoding.decode_group('{"hash":"x","fns":{}}').functions == ()


@pytest.mark.parametrize(
    ("decode", "value"),
    [
        (encoding.decode_connection, "{not json"),
        (encoding.decode_connection, b"\xff"),
        (encoding.decode_connection, "[" * 100_000),
        (encoding.decode_connection, "[]"),
        (encoding.decode_connection, "{}"),
        (encoding.decode_connection, {"id": 7}),
        (encoding.decode_connection, {"id": "x", "status": 9}),
        (encoding.decode_connection, {"id": "x", "status": "READY"}),
        (encoding.decode_connection, {"id": "x", "status": True}),
        (encoding.decode_connection, {"id": "x", "attributes": []}),
        (encoding.decode_connection, {"id": "x", "all_worker_groups": {"a": 1}}),
        (encoding.decode_group, {"fns": []}),
        (encoding.decode_group, {"hash": "x", "fns": [1]}),
        (encoding.decode_group, {"hash": "x", "fns": "shop"}),
        (encoding.decode_gateway, {"id": "x"}),
        (encoding.decode_gateway, {"id": "x", "status": "asleep"}),
        (encoding.decode_lease, {}),
        (encoding.decode_app, {"id": "x", "functions": ["shop"]}),
    ],
)
def test_bad_record_is_refused(decode: Callable[[Any], object], value: Any) -> None:
    with pytest.raises(BadRecord):
        decode(json.dumps(value) if isinstance(value, dict) else value)


def test_bad_record_says_what_is_wrong() -> None:
    with pytest.raises(BadRecord) as raised:
        encoding.decode_lease("{}")
    assert str(raised.value) == "stored lease cannot be read: leaseID should be present"
