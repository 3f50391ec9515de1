"""Addresses: which of them may be called, whatever form they are written in."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressRule = Callable[[Address], bool]

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address
LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: the network decides which four bytes
COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291 2.5.5.1, obsolete; `::` and `::1` too
METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # Amazon
            "fd20:ce::254",  # Google
            "fd00:c1::a9fe:a9fe",  # Oracle
        ),
    )
)
"""Clouds' metadata services that are at no link-local address."""
LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
_NUMBERS = re.compile(r"[0-9a-fx.]+", re.IGNORECASE | re.ASCII)


class AddressError(Exception):
    """The address behind a name is not one that may be called."""


def is_global(address: Address) -> bool:
    """Whether `address` is on the public internet: not loopback, private, link-local or special."""
    if not is_elsewhere(address):
        return False
    plain = _innermost(address)
    if isinstance(plain, ipaddress.IPv6Address) and (plain.is_site_local or plain.is_reserved):
        return False
    return plain.is_global


def is_elsewhere(address: Address) -> bool:
    """Whether `address` is another machine's, in public or private: not this one's, nor cloud metadata's."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in COMPATIBLE:
            return False
        if address in LOCAL_NAT64 and not all(map(_is_elsewhere, _other_readings(address))):
            return False
    return _is_elsewhere(_innermost(address))


def literal(host: str) -> Address | None:
    """The address that `host` spells out, in any form that a resolver takes for one (`2130706433`, `0177.1`).

    `localhost` is one too: behind a proxy nobody but we would look at it.
    """
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return LOOPBACK
    try:
        return ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        pass
    if _NUMBERS.fullmatch(host):
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            pass
    return None


def _is_elsewhere(plain: Address) -> bool:
    here = plain.is_loopback or plain.is_link_local or plain.is_multicast or plain.is_unspecified
    return not here and plain not in METADATA


def _other_readings(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """What an address of a local translator means where its prefix has less than 96 bits (RFC 6052 2.2)."""
    packed = address.packed
    readings = (packed[6:8] + packed[9:11], packed[7:8] + packed[9:12], packed[9:13])
    return [ipaddress.IPv4Address(reading) for reading in readings if any(reading)]


def _innermost(address: Address) -> Address:
    """The IPv4 address that an IPv6 address carries (mapped, NAT64, 6to4, Teredo), else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64 or address in LOCAL_NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
