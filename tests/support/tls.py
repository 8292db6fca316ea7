"""TLS before servers that speak none."""

import ssl
import subprocess
from pathlib import Path

import trio

__all__ = ["make_certificate", "serve_tls"]


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for localhost and its key; return their paths."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


async def serve_tls(
    port: int,
    certificate: tuple[Path, Path],
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Terminate TLS before the server at the port; the status is the port of its own."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    async def copy(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
        while data := await source.receive_some():
            await target.send_all(bytes(data))

    async def serve(outside: trio.abc.Stream) -> None:
        inside = await trio.open_tcp_stream("127.0.0.1", port)
        try:
            async with inside, trio.open_nursery() as nursery:
                nursery.start_soon(copy, outside, inside)
                await copy(inside, outside)
        except* trio.BrokenResourceError:
            pass  # the client refused the certificate, or is gone

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener.socket.getsockname()[1])
    await trio.serve_listeners(serve, [trio.SSLListener(listener, context)])
