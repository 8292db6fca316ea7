"""Requests and the messages about them, against the generated messages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.errors import MalformedMessage
from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb
from connect.worker.request import (
    Request,
    read_request,
    write_ack,
    write_extension,
    write_response,
)

# Long enough for lengths of two bytes.
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=150)
_BYTES = st.binary(max_size=150)

_REQUESTS = st.builds(
    Request,
    request_id=_TEXTS,
    account_id=_TEXTS,
    env_id=_TEXTS,
    app_id=_TEXTS,
    app_name=_TEXTS,
    function_slug=_TEXTS,
    step_id=st.none() | _TEXTS.filter(bool),
    payload=_BYTES | st.just(b"x" * 20_000),
    system_trace_ctx=_BYTES,
    user_trace_ctx=_BYTES,
    run_id=_TEXTS,
    lease_id=_TEXTS,
)


def _message(request: Request) -> pb.GatewayExecutorRequestData:
    return pb.GatewayExecutorRequestData(
        request_id=request.request_id,
        account_id=request.account_id,
        env_id=request.env_id,
        app_id=request.app_id,
        app_name=request.app_name,
        function_id="function",
        function_slug=request.function_slug,
        step_id=request.step_id,
        request_payload=request.payload,
        system_trace_ctx=request.system_trace_ctx,
        user_trace_ctx=request.user_trace_ctx,
        run_id=request.run_id,
        lease_id=request.lease_id,
        job_id="job",
    )


def _shared(request: Request) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "account_id": request.account_id,
        "env_id": request.env_id,
        "app_id": request.app_id,
        "function_slug": request.function_slug,
        "step_id": request.step_id,
        "system_trace_ctx": request.system_trace_ctx,
        "user_trace_ctx": request.user_trace_ctx,
        "run_id": request.run_id,
    }


@given(_REQUESTS)
def test_a_request_is_read_as_the_generated_message_was_written(request: Request) -> None:
    assert read_request(bytes(_message(request))) == request


@given(_REQUESTS)
def test_fields_of_a_later_version_are_passed_over(request: Request) -> None:
    later = bytes(_message(request)) + b"\x98\x06\x07" + b"\x7a\x01x"

    assert read_request(later) == request


@given(st.binary(max_size=60) | _REQUESTS.map(lambda one: bytes(_message(one))[:-1]))
def test_what_is_no_request_is_malformed_and_nothing_else(data: bytes) -> None:
    try:
        expected = decode(pb.GatewayExecutorRequestData, data)
    except MalformedMessage:
        with pytest.raises(MalformedMessage):
            read_request(data)
    else:
        assert read_request(data).request_id == expected.request_id


def test_text_that_is_no_utf_8_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        read_request(b"\x0a\x01\xff")


@given(_REQUESTS)
def test_an_acknowledgement_is_written_as_the_generated_message_is(request: Request) -> None:
    assert write_ack(request) == bytes(pb.WorkerRequestAckData(**_shared(request)))


@given(_REQUESTS, _TEXTS)
def test_an_extension_is_written_as_the_generated_message_is(
    request: Request, lease_id: str
) -> None:
    expected = pb.WorkerRequestExtendLeaseData(**_shared(request), lease_id=lease_id)

    assert write_extension(request, lease_id) == bytes(expected)


@given(
    _REQUESTS,
    st.sampled_from([0, 1, 2]),
    _BYTES,
    st.booleans(),
    st.none() | st.just("30"),
    st.integers(0, 127),
)
def test_a_response_is_written_as_the_generated_message_is(
    request: Request,
    status: int,
    body: bytes,
    no_retry: bool,
    retry_after: str | None,
    request_version: int,
) -> None:
    expected = pb.SdkResponse(
        request_id=request.request_id,
        account_id=request.account_id,
        env_id=request.env_id,
        app_id=request.app_id,
        status=pb.SdkResponseStatus(status),
        body=body,
        no_retry=no_retry,
        retry_after=retry_after,
        sdk_version="python:1",
        request_version=request_version,
        system_trace_ctx=request.system_trace_ctx,
        user_trace_ctx=request.user_trace_ctx,
        run_id=request.run_id,
    )

    written = write_response(
        request,
        status=status,
        body=body,
        no_retry=no_retry,
        retry_after=retry_after,
        sdk_version="python:1",
        request_version=request_version,
    )

    assert written == bytes(expected)
