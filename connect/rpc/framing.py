"""How gRPC puts calls into HTTP/2: headers, message prefix, trailers. No I/O.

The rules are those of the document "gRPC over HTTP2".
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import quote, unquote

from connect.rpc.errors import CallFailed, RpcError, RpcStatus

__all__ = [
    "OK_TRAILERS",
    "PREFIX_BYTES",
    "RESPONSE_HEADERS",
    "decode_message",
    "encode_message",
    "error_trailers",
    "read_answer",
    "read_request_headers",
    "request_headers",
]

Header = tuple[bytes, bytes]

# A flag (compressed or not), and the message's length.
PREFIX_BYTES = 5

_CONTENT_TYPE = (b"content-type", b"application/grpc+proto")
_CONTENT_TYPES = frozenset({b"application/grpc", b"application/grpc+proto"})

RESPONSE_HEADERS: list[Header] = [(b":status", b"200"), _CONTENT_TYPE]
OK_TRAILERS: list[Header] = [(b"grpc-status", b"0")]

_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")

# When to try again (gRPC's proposal A6, on retries).
_PUSHBACK = b"grpc-retry-pushback-ms"
_MILLISECONDS = re.compile(rb"\d{1,10}")

# What may stand in grpc-message as it is: printable ASCII without the percent sign.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if code != ord("%"))

# What an HTTP status means when something that is not gRPC answers.
_HTTP_STATUS = {
    b"400": RpcStatus.INTERNAL,
    b"401": RpcStatus.UNAUTHENTICATED,
    b"403": RpcStatus.PERMISSION_DENIED,
    b"404": RpcStatus.UNIMPLEMENTED,
    b"429": RpcStatus.UNAVAILABLE,
    b"502": RpcStatus.UNAVAILABLE,
    b"503": RpcStatus.UNAVAILABLE,
    b"504": RpcStatus.UNAVAILABLE,
}


def encode_message(message: bytes) -> bytes:
    """Return the message with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def decode_message(chunks: Sequence[bytes | bytearray]) -> bytes:
    """Return the one message that a stream carried.

    Raises:
        RpcError: INTERNAL if it carried none, a part, or more than one; UNIMPLEMENTED
            if the message is compressed.
    """
    body = b"".join(chunks)
    if len(body) < PREFIX_BYTES or int.from_bytes(body[1:5], "big") != len(body) - PREFIX_BYTES:
        raise RpcError(RpcStatus.INTERNAL, "a unary call carries exactly one complete message")
    if body[0]:
        raise RpcError(RpcStatus.UNIMPLEMENTED, "compressed messages are not supported")
    return body[PREFIX_BYTES:]


def request_headers(path: str, authority: str, timeout: float | None) -> list[Header]:
    """Return the headers that open a call.

    Args:
        timeout: seconds; told to the server, rounded up. None for a call without end.
    """
    told: list[Header] = []
    if timeout is not None:
        # Whole seconds repeat from call to call, which HPACK makes short.
        whole = timeout > 10
        written = (
            b"%dS" % math.ceil(timeout) if whole else b"%dm" % max(1, math.ceil(timeout * 1e3))
        )
        told.append((b"grpc-timeout", written))
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        *told,
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"connect-gateway"),
    ]


def read_request_headers(headers: Mapping[bytes, bytes]) -> tuple[str, float | None]:
    """Return the method's path, and the call's timeout in seconds if it has one.

    Raises:
        RpcError: it is no gRPC call of a kind that is served here.
    """
    if headers.get(b":method") != b"POST":
        raise RpcError(RpcStatus.INTERNAL, "a gRPC call is a POST request")
    if headers.get(b"content-type") not in _CONTENT_TYPES:
        raise RpcError(RpcStatus.INTERNAL, "the content type must be application/grpc")
    timeout: float | None = None
    if b"grpc-timeout" in headers:
        match = _TIMEOUT.fullmatch(headers[b"grpc-timeout"])
        if match is None:
            raise RpcError(RpcStatus.INTERNAL, "grpc-timeout is malformed")
        timeout = int(match[1]) * _UNITS[match[2]]
    return headers.get(b":path", b"").decode("ascii", "replace"), timeout


def error_trailers(error: RpcError) -> list[Header]:
    """Return the headers of an answer that consists of an error only."""
    trailers = [
        *RESPONSE_HEADERS,
        (b"grpc-status", b"%d" % error.status),
        (b"grpc-message", quote(error.message, safe=_PLAIN).encode()),
    ]
    if error.retry_after is not None:
        trailers.append((_PUSHBACK, b"%d" % math.ceil(error.retry_after * 1000)))
    return trailers


def read_answer(
    headers: Iterable[Header] | None,
    trailers: Iterable[Header] | None,
    message: Callable[[], bytes],
    lost: str | None,
) -> bytes:
    """Return the message of an answer.

    Args:
        headers, trailers: as received; an answer may end with its headers.
        message: returns the message received, or raises.
        lost: why the stream ended before its answer was complete, if it did.

    Raises:
        CallFailed: the server's own error.
        RpcError: what is wrong with its answer.
    """
    first = dict(headers or ())
    last = first if trailers is None else dict(trailers)
    status = last.get(b"grpc-status")
    if status is None:
        if first.get(b":status", b"200") != b"200":
            number = first[b":status"]
            mapped = _HTTP_STATUS.get(number, RpcStatus.UNKNOWN)
            raise RpcError(mapped, f"HTTP status {number.decode('ascii', 'replace')}")
        if lost is not None:
            raise RpcError(RpcStatus.UNAVAILABLE, lost)
        message()  # may know more: too large, for one
        raise RpcError(RpcStatus.UNKNOWN, "the answer has no grpc-status")
    if status == b"0":
        return message()
    text = unquote(last.get(b"grpc-message", b"").decode("ascii", "replace"))
    try:
        known = RpcStatus(int(status))
    except ValueError:
        known = RpcStatus.UNKNOWN
    pushback = last.get(_PUSHBACK, b"")
    # A server may also say "never", by a number below 0.
    retry_after = int(pushback) / 1000 if _MILLISECONDS.fullmatch(pushback) else None
    raise CallFailed(known, text or known.name, retry_after=retry_after)
