"""Which addresses may be connected to by what is told to other systems. Pure.

Whoever may write a webhook's URL must not reach by it what only this machine's network reaches (server-side
request forgery), so addresses that are not of the public internet are refused unless they are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# RFC 6052: addresses of IPv4 as networks of IPv6 alone write them.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: IPAddress) -> bool:
    """Say whether an address is one of the public internet, also where IPv6 wraps one of IPv4."""
    inner = _inner(address)
    return inner.is_global and not inner.is_multicast


def allows(networks: Sequence[IPNetwork], host: str) -> bool:
    """Say whether an address, as text, may be connected to: it is public, or in one of the networks.

    >>> from ipaddress import ip_network
    >>> allows([], "93.184.215.14"), allows([], "10.1.2.3"), allows([ip_network("10.0.0.0/8")], "10.1.2.3")
    (True, False, True)
    """
    # Link-local addresses of IPv6 may say by which interface: fe80::1%eth0.
    address = ip_address(host.partition("%")[0])
    return is_public(address) or any(
        one in network for one in (address, _inner(address)) for network in networks
    )


def _inner(address: IPAddress) -> IPAddress:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
