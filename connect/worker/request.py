"""A request as the worker holds it, and the messages about it, read and written by hand.

Reading or writing one of the generated messages takes about 100 microseconds, and each
request needs four of them. Their fields are texts and bytes with numbers below 16, so
that a tag is one byte and reading them is a short loop; whatever looks otherwise is
left to the generated message.
"""

from dataclasses import dataclass

from connect.protocol.codec import decode
from connect.protocol.messages.connect import v1 as pb

__all__ = ["Request", "read_request", "write_ack", "write_extension", "write_response"]

_FIELDS = 15  # numbers 1 to 14, and the unused 0
_LENGTH_DELIMITED = 2
_VARINT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a GatewayExecutorRequestData says (Connect protocol, section 2).

    Attributes:
        payload: the JSON of the call.
    """

    request_id: str = ""
    account_id: str = ""
    env_id: str = ""
    app_id: str = ""
    app_name: str = ""
    function_slug: str = ""
    step_id: str | None = None
    payload: bytes = b""
    system_trace_ctx: bytes = b""
    user_trace_ctx: bytes = b""
    run_id: str = ""
    lease_id: str = ""


def read_request(data: bytes) -> Request:
    """Read a GatewayExecutorRequestData.

    Raises:
        MalformedMessage: these bytes are no such message.
    """
    fields = _read_plain(data)
    if fields is None:
        return _read_any(data)
    try:
        return Request(
            request_id=fields[1].decode(),
            account_id=fields[2].decode(),
            env_id=fields[3].decode(),
            app_id=fields[4].decode(),
            app_name=fields[5].decode(),
            function_slug=fields[7].decode(),
            # Present but empty is as good as absent: no step has an empty id.
            step_id=fields[8].decode() or None,
            payload=fields[9],
            system_trace_ctx=fields[10],
            user_trace_ctx=fields[11],
            run_id=fields[12].decode(),
            lease_id=fields[13].decode(),
        )
    except UnicodeDecodeError:
        return _read_any(data)


def write_ack(request: Request) -> bytes:
    """The bytes of a WorkerRequestAckData."""
    return b"".join(_about(request))


def write_extension(request: Request, lease_id: str) -> bytes:
    """The bytes of a WorkerRequestExtendLeaseData."""
    return b"".join([*_about(request), _field(10, lease_id.encode())])


def write_response(
    request: Request,
    *,
    status: int,
    body: bytes,
    no_retry: bool,
    retry_after: str | None,
    sdk_version: str,
    request_version: int,
) -> bytes:
    """The bytes of an SDKResponse.

    Args:
        request_version: below 128.
    """
    return b"".join(
        (
            _field(1, request.request_id.encode()),
            _field(2, request.account_id.encode()),
            _field(3, request.env_id.encode()),
            _field(4, request.app_id.encode()),
            _small(5, status),
            _field(6, body),
            _small(7, int(no_retry)),
            _field(8, (retry_after or "").encode()),
            _field(9, sdk_version.encode()),
            _small(10, request_version),
            _field(11, request.system_trace_ctx),
            _field(12, request.user_trace_ctx),
            _field(13, request.run_id.encode()),
        )
    )


def _about(request: Request) -> tuple[bytes, ...]:
    """Fields 1 to 9, which WorkerRequestAckData and WorkerRequestExtendLeaseData share."""
    return (
        _field(1, request.request_id.encode()),
        _field(2, request.account_id.encode()),
        _field(3, request.env_id.encode()),
        _field(4, request.app_id.encode()),
        _field(5, request.function_slug.encode()),
        _field(6, (request.step_id or "").encode()),
        _field(7, request.system_trace_ctx),
        _field(8, request.user_trace_ctx),
        _field(9, request.run_id.encode()),
    )


def _field(number: int, value: bytes) -> bytes:
    """A text or bytes field; nothing if it is empty."""
    length = len(value)
    if not length:
        return b""
    head = bytearray((number << 3 | _LENGTH_DELIMITED,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + value


def _small(number: int, value: int) -> bytes:
    """A number below 128; nothing if it is 0."""
    return bytes((number << 3 | _VARINT, value)) if value else b""


def _read_plain(data: bytes) -> list[bytes] | None:
    """The fields by number; None unless all are as this module expects them."""
    fields = [b""] * _FIELDS
    position, end = 0, len(data)
    try:
        while position < end:
            number, wire_type = data[position] >> 3, data[position] & 7
            if wire_type != _LENGTH_DELIMITED or not 0 < number < _FIELDS:
                return None
            length, shift = 0, 0
            while True:
                position += 1
                byte = data[position]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            start, position = position + 1, position + 1 + length
            fields[number] = data[start:position]
    except IndexError:
        return None
    return fields if position == end else None


def _read_any(data: bytes) -> Request:
    message = decode(pb.GatewayExecutorRequestData, data)
    return Request(
        request_id=message.request_id,
        account_id=message.account_id,
        env_id=message.env_id,
        app_id=message.app_id,
        app_name=message.app_name,
        function_slug=message.function_slug,
        step_id=message.step_id or None,
        payload=message.request_payload,
        system_trace_ctx=message.system_trace_ctx,
        user_trace_ctx=message.user_trace_ctx,
        run_id=message.run_id,
        lease_id=message.lease_id,
    )
