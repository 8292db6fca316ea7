"""Which address to tell others, so that they can call this process back."""

import ipaddress
import socket

__all__ = ["reachable_host"]

# Reserved for documentation (RFC 5737, RFC 3849): only routes are consulted, nothing
# is sent there.
_PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def reachable_host(bound_host: str) -> str:
    """Return the address under which other hosts most likely reach a listener.

    Args:
        bound_host: name or address that the listener is bound to.

    Returns:
        `bound_host` itself unless it means all interfaces; then the address of the
        interface with the default route, or ``127.0.0.1`` when there is no route.
    """
    try:
        if not ipaddress.ip_address(bound_host).is_unspecified:
            return bound_host
    except ValueError:  # a name
        return bound_host
    for family, probe in _PROBES:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as routed:
                routed.connect((probe, 9))
                return str(routed.getsockname()[0])
        except OSError:
            continue
    return "127.0.0.1"
