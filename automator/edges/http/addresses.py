"""Addresses: which of them may be called, whatever form they are written in."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressRule = Callable[[Address], bool]

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address
# Cloud metadata that is not link-local: Alibaba's in the carriers' range, AWS's in a private one.
METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))
LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
_NUMBERS = re.compile(r"[0-9a-fx.]+", re.IGNORECASE | re.ASCII)


class AddressError(Exception):
    """The address behind a name is not one that may be called."""


def is_global(address: Address) -> bool:
    """Whether `address` is on the public internet: not loopback, private, link-local or special."""
    plain = _innermost(address)
    if isinstance(plain, ipaddress.IPv6Address) and (plain.is_site_local or plain.is_reserved):
        return False
    return plain.is_global and not plain.is_multicast


def is_elsewhere(address: Address) -> bool:
    """Whether `address` is another machine's, in public or private: not this one's, nor cloud metadata's."""
    plain = _innermost(address)
    here = plain.is_loopback or plain.is_link_local or plain.is_multicast or plain.is_unspecified
    return not here and plain not in METADATA


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


def _innermost(address: Address) -> Address:
    """The IPv4 address that an IPv6 address carries (mapped, NAT64, 6to4, Teredo), else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
