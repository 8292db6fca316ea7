"""From which address a worker connects, also when proxies stand before the gateway."""

import ipaddress
from collections.abc import Iterable, Sequence

from connect.errors import ConfigurationError

__all__ = ["Network", "client_address", "counted_address", "is_trusted", "parse_networks"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What one subscriber or host has of IPv6: counting single addresses would count nothing.
_IPV6_PREFIX = 64


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks that texts name, such as ``10.0.0.0/8`` or ``::1``.

    Raises:
        ConfigurationError: one of them is neither an address nor a network.
    """
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ConfigurationError(
                f"{text!r} is neither an address nor a network such as 10.0.0.0/8"
            ) from None
    return tuple(networks)


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Return the address that a request comes from.

    Every proxy adds to X-Forwarded-For whom it got the request from. Read from the end, the
    first that is no trusted proxy is the client; what stands before it anybody may have
    written.

    Args:
        peer: the address at the other end of the socket.
        forwarded_for: the header's value, of several headers joined by commas; empty
            without one.
        trusted: the proxies that are believed.
    """
    hops = [hop.strip() for hop in forwarded_for.split(",")]
    believed = peer
    while hops and is_trusted(believed, trusted):
        told = _parse(hops.pop())
        if told is None:  # nothing further can be known
            break
        believed = str(told)
    return believed


def counted_address(address: str) -> str:
    """Return what stands for an address where connections are counted by it.

    That is the network of 64 bits around an IPv6 address, else the address itself.
    """
    parsed = _parse(address)
    if parsed is None:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether an address is that of a trusted proxy."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _parse(text: str) -> _Address | None:
    """Return an address, which may have a port; None if the text is none.

    An IPv4 address mapped into IPv6 is that IPv4 address.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
