"""Which gateway a worker is sent to, and under which address."""

import ipaddress
import random
import re
from collections.abc import Callable, Collection, Sequence

from connect.settings import Listen
from connect.state.records import GatewayRecord, GatewayStatus

__all__ = ["choose_gateway", "gateway_endpoint"]

_PATH = "/v0/connect"
_GATEWAY_PORT = Listen().gateway_port
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{0,5})?")


def choose_gateway(
    gateways: Sequence[GatewayRecord],
    excluded: Collection[str],
    *,
    oldest_heartbeat_ms: float,
    sample: Callable[[Sequence[GatewayRecord], int], Sequence[GatewayRecord]] = random.sample,
) -> GatewayRecord | None:
    """Choose a gateway for a new connection (Connect protocol, section 3).

    Of two random candidates the one with fewer connections is taken: nearly as even as
    always taking the emptiest, without sending every new worker there at once.

    Args:
        gateways: all stored ones; those that are not active or not alive are passed over.
        excluded: groups and ids of gateways, avoided while there are others.
        oldest_heartbeat_ms: unix milliseconds; an older heartbeat means a dead gateway.
        sample: picks that many different ones.

    Returns:
        None if no gateway is available.
    """
    available = [
        gateway
        for gateway in gateways
        if gateway.status is GatewayStatus.ACTIVE
        and gateway.last_heartbeat_ms >= oldest_heartbeat_ms
    ]
    preferred = [
        gateway
        for gateway in available
        if gateway.id not in excluded and gateway.group not in excluded
    ]
    candidates = preferred or available
    if not candidates:
        return None
    return min(sample(candidates, min(2, len(candidates))), key=lambda one: one.connections)


def gateway_endpoint(
    gateway: GatewayRecord, *, public_url: str | None, host_header: str | None, secure: bool
) -> str:
    """Return the WebSocket URL under which a worker reaches the gateway.

    The gateway's own public address goes first, then the configured one. Otherwise it is
    the host under which the worker reached the API: right for a worker in a container,
    which could not come back to an address of ours (Connect protocol, section 3).

    Args:
        public_url: `Listen.gateway_url`.
        host_header: the request's Host; the gateway's address is taken without one.
        secure: whether the request came by TLS.

    Raises:
        ValueError: the Host header is no host.
    """
    if gateway.endpoint:
        return gateway.endpoint
    if public_url:
        base = public_url.rstrip("/")
        return base if base.endswith(_PATH) else base + _PATH
    if host_header:
        found = _HOST.fullmatch(host_header)
        if found is None:
            raise ValueError("the Host header is not a host")
        host = found["host"]
    else:
        host = _bracketed(gateway.ip)
    scheme = "wss" if secure else "ws"
    return f"{scheme}://{host}:{gateway.port or _GATEWAY_PORT}{_PATH}"


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
