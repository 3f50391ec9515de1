"""Parties: who is behind the address of a connection, as far as that can be told."""

from __future__ import annotations

import ipaddress


def party(address: str) -> str:
    """Who is behind an address: of IPv6 the first half belongs to one network."""
    parsed = _parsed(address)
    if parsed is None:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own, spoken to by itself."""
    parsed = _parsed(address)
    return parsed is not None and parsed.is_loopback


def is_loopback_name(host: str) -> bool:
    """Whether the header Host names this machine to itself, with or without a port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name.startswith("[") and name.endswith("]"):
        return is_loopback(name[1:-1])
    return name.lower() == "localhost" or (name.count(".") == 3 and is_loopback(name))


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped if parsed.version == 6 else None) or parsed
