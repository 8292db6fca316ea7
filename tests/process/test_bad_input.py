"""Any bytes on any port: the service answers what it can and stays alive."""

import random

import httpx
import pytest
import trio

from connect.harness import RunningService, start_service

pytestmark = pytest.mark.process

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
UPGRADE = (
    b"GET /v0/connect HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: v0.connect.inngest.com\r\n\r\n"
)


def port_of(address: str) -> int:
    return int(address.rpartition("//")[2].partition("/")[0].rpartition(":")[2])


def blobs(seed: int) -> list[bytes]:
    rng = random.Random(seed)
    noise = [rng.randbytes(rng.randrange(1, 300)) for _ in range(15)]
    frames = [
        HTTP2 + SETTINGS + bytes([0, 0, n % 200, n % 12, n % 256, 0, 0, 0, 1 + n % 5]) + junk
        for n, junk in enumerate(noise)
    ]
    requests = [
        b"POST /v0/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n",
        b"POST /v0/invoke HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n" * 50,
        b"GET /\x00\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v0/connect/envs/%ff/conns HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    return [*noise, *frames, *requests, *(UPGRADE + junk for junk in noise), b""]


async def send(port: int, data: bytes) -> None:
    try:
        with trio.move_on_after(0.2):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(data)
                async for _ in stream:
                    pass
    except OSError as error:
        raise AssertionError(f"port {port} does not listen any more") from error
    except trio.BrokenResourceError:
        pass


async def answers(service: RunningService) -> None:
    async with httpx.AsyncClient() as client:
        for name in ("api", "admin"):
            assert (await client.get(service.addresses[name] + "/ready")).status_code == 200
        gateway = port_of(service.addresses["gateway"])
        assert (await client.get(f"http://127.0.0.1:{gateway}/ready")).status_code == 200


@pytest.mark.parametrize("name", ["api", "gateway", "gateway_rpc", "executor_rpc", "admin"])
async def test_any_bytes_are_survived(name: str) -> None:
    async with start_service("--set=timing.handshake=1s") as service:
        port = port_of(service.addresses[name])
        limit = trio.CapacityLimiter(16)

        async def one(data: bytes) -> None:
            async with limit:
                await send(port, data)

        async with trio.open_nursery() as nursery:
            for data in blobs(seed=len(name)):
                nursery.start_soon(one, data)
        await answers(service)
        assert "Traceback" not in service.output


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v0/invoke", b"{", 400),
        ("POST", "/v0/invoke", b"[]", 400),
        ("POST", "/v0/invoke", b'{"data": {}}', 400),
        ("POST", "/v0/invoke", b'{"function": 7}', 400),
        ("POST", "/v0/invoke", b'{"function": "f", "timeout": "soon"}', 400),
        ("POST", "/v0/invoke", b'{"function": "f", "data": {}, "event": {}}', 400),
        ("POST", "/v0/invoke", b'{"function": "no-such", "data": {}}', 404),
        ("POST", "/v0/invoke", b" " * (5 * 1024 * 1024), 413),
        ("POST", "/v0/connect/start", b"\xff\xff", 400),
        ("POST", "/v0/connect/start", b"\x0a" * (2 * 1024 * 1024), 413),
        ("POST", "/v0/connect/flush", b"\xff\xff", 400),
        ("POST", "/v0/connect/flush", b"", 400),
        ("GET", "/v0/connect/envs/nope/conns", b"", 404),
        ("GET", "/v0/connect/envs/00000000-0000-4000-b000-000000000000/groups/nope", b"", 404),
        ("GET", "/nothing", b"", 404),
        ("DELETE", "/v0/invoke", b"", 405),
    ],
)
async def test_a_bad_request_gets_a_json_error_with_a_reason(
    shared_service: str, method: str, path: str, content: bytes, status: int
) -> None:
    async with httpx.AsyncClient(base_url=shared_service) as client:
        response = await client.request(method, path, content=content)
    assert response.status_code == status, response.text
    error = response.json()
    assert error["status"] == status
    assert error["error"]
