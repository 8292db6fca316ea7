"""Headers, prefixes and trailers of unary calls."""

import pytest

from connect.rpc import framing
from connect.rpc.errors import RpcError, RpcStatus

CALL = {
    b":method": b"POST",
    b":path": b"/s/M",
    b"content-type": b"application/grpc",
}


def answer(
    headers: list[tuple[bytes, bytes]] | None,
    trailers: list[tuple[bytes, bytes]] | None = None,
    *,
    lost: str | None = None,
) -> RpcStatus:
    def message() -> bytes:
        return b"message"

    with pytest.raises(RpcError) as caught:
        framing.read_answer(headers, trailers, message, lost)
    return caught.value.status


@pytest.mark.parametrize("cut", [slice(0, 6), slice(5, 12), slice(4, 5)])
def test_a_message_is_put_together_from_its_chunks(cut: slice) -> None:
    whole = framing.encode_message(b"message")
    chunks = [whole[: cut.start], whole[cut], whole[cut.stop :]]
    assert framing.decode_message(chunks) == b"message"


@pytest.mark.parametrize("body", [b"", b"\0\0\0", b"\0\0\0\0\2x", b"\0\0\0\0\1xx"])
def test_anything_but_one_whole_message_is_refused(body: bytes) -> None:
    with pytest.raises(RpcError, match="exactly one complete message"):
        framing.decode_message([body])


def test_a_compressed_message_is_refused() -> None:
    with pytest.raises(RpcError, match="compressed"):
        framing.decode_message([b"\1\0\0\0\1x"])


@pytest.mark.parametrize(
    ("told", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"27S", 27), (b"1500m", 1.5), (b"7u", 7e-6), (b"9n", 9e-9)],
)
def test_timeouts_are_read_in_every_unit(told: bytes, seconds: float) -> None:
    _, timeout = framing.read_request_headers(CALL | {b"grpc-timeout": told})
    assert timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("timeout", "told"), [(27, b"27S"), (27.2, b"28S"), (1.5, b"1500m"), (0, b"1m")]
)
def test_timeouts_are_told_rounded_up(timeout: float, told: bytes) -> None:
    assert (b"grpc-timeout", told) in framing.request_headers("/s/M", "host:1", timeout)


def test_a_call_without_timeout_has_none() -> None:
    assert framing.read_request_headers(CALL) == ("/s/M", None)


@pytest.mark.parametrize(
    "wrong",
    [
        {b":method": b"GET"},
        {b"content-type": b"text/html"},
        {b"grpc-timeout": b"soon"},
    ],
)
def test_what_is_no_grpc_call_is_refused(wrong: dict[bytes, bytes]) -> None:
    with pytest.raises(RpcError):
        framing.read_request_headers(CALL | wrong)


def test_a_good_answer_is_its_message() -> None:
    message = framing.read_answer(
        framing.RESPONSE_HEADERS, framing.OK_TRAILERS, lambda: b"message", None
    )
    assert message == b"message"


def test_an_error_survives_its_way_over_the_wire() -> None:
    sent = RpcError(RpcStatus.ABORTED, "50 % zurück\n")
    with pytest.raises(RpcError) as caught:
        framing.read_answer(framing.error_trailers(sent), None, lambda: b"", None)
    assert (caught.value.status, caught.value.message) == (sent.status, sent.message)


@pytest.mark.parametrize(("told", "read"), [(None, None), (0.25, 0.25), (0.0001, 0.001)])
def test_when_to_try_again_survives_its_way_over_the_wire(
    told: float | None, read: float | None
) -> None:
    sent = RpcError(RpcStatus.RESOURCE_EXHAUSTED, "full", retry_after=told)
    with pytest.raises(RpcError) as caught:
        framing.read_answer(framing.error_trailers(sent), None, lambda: b"", None)
    assert caught.value.retry_after == read


@pytest.mark.parametrize("pushback", [b"-1", b"soon", b""])
def test_a_peer_that_does_not_say_when_to_try_again_is_taken_at_its_word(pushback: bytes) -> None:
    trailers = [(b"grpc-status", b"8"), (b"grpc-retry-pushback-ms", pushback)]
    with pytest.raises(RpcError) as caught:
        framing.read_answer(trailers, None, lambda: b"", None)
    assert caught.value.retry_after is None


def test_a_complete_answer_counts_though_the_stream_was_lost_after_it() -> None:
    sent = RpcError(RpcStatus.ABORTED, "enough")
    assert answer(framing.error_trailers(sent), lost="reset") is RpcStatus.ABORTED


def test_an_answer_cut_short_is_unavailable() -> None:
    assert answer(framing.RESPONSE_HEADERS, lost="reset") is RpcStatus.UNAVAILABLE


def test_no_answer_at_all_is_unavailable() -> None:
    assert answer(None, lost="reset") is RpcStatus.UNAVAILABLE


def test_an_answer_without_status_is_unknown() -> None:
    assert answer(framing.RESPONSE_HEADERS, []) is RpcStatus.UNKNOWN


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (b"503", RpcStatus.UNAVAILABLE),
        (b"404", RpcStatus.UNIMPLEMENTED),
        (b"418", RpcStatus.UNKNOWN),
    ],
)
def test_an_answer_that_is_not_grpc_has_the_status_of_its_http_status(
    status: bytes, expected: RpcStatus
) -> None:
    assert answer([(b":status", status)]) is expected


@pytest.mark.parametrize("status", [b"99", b"abc"])
def test_a_status_nobody_knows_is_unknown(status: bytes) -> None:
    assert answer([(b":status", b"200"), (b"grpc-status", status)]) is RpcStatus.UNKNOWN
