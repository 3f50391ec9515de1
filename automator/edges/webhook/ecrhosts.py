"""The hosts of Amazon ECR: one registry has up to four names, and each partition of AWS its own domains.

Domains are those of the partitions that AWS publishes with its SDKs; those of ECR's dual-stack endpoints
are in its user guide, for the partitions that have them.
"""

from __future__ import annotations

import re

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_HOST = re.compile(r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]{1,40})\..+", re.ASCII)

# How regions of a partition begin, its domain, and its dual-stack domain where it has one.
_PARTITIONS = (
    ("cn-", "amazonaws.com.cn", "on.amazonwebservices.com.cn"),
    ("eusc-", "amazonaws.eu", "on.amazonwebservices.eu"),
    ("us-iso-", "c2s.ic.gov", None),
    ("us-isob-", "sc2s.sgov.gov", None),
    ("eu-isoe-", "cloud.adc-e.uk", None),
    ("us-isof-", "csp.hci.ic.gov", None),
    ("", "amazonaws.com", "on.aws"),
)


def ecr_hosts(account: str, region: str) -> tuple[str, ...]:
    """Every host of that account's registry, the usual one first; none for what names no account."""
    if not _ACCOUNT.fullmatch(account) or not _REGION.fullmatch(region):
        return ()
    domain, dual = next((one, two) for start, one, two in _PARTITIONS if region.startswith(start))
    hosts = [f"{account}.dkr.ecr{kind}.{region}.{domain}" for kind in ("", "-fips")]
    if dual is not None:
        hosts += [f"{account}.dkr-ecr{kind}.{region}.{dual}" for kind in ("", "-fips")]
    return tuple(hosts)


def ecr_aliases(host: str) -> tuple[str, ...]:
    """Every host of the registry of ECR that `host` is; none where it is another registry."""
    match = _HOST.fullmatch(host)
    hosts = ecr_hosts(match["account"], match["region"]) if match else ()
    return hosts if host in hosts else ()
